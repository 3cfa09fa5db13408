//! What the telling of events keeps over a restart: real files, real time.

use super::upkeep::{Listener, happened, start};
use super::*;
use crate::spool::SpoolOptions;

#[tokio::test]
async fn after_a_restart_the_telling_goes_on_where_it_was_and_never_with_a_former_owners_events() {
    let dir = tempfile::tempdir().unwrap();
    let options: SpoolOptions = options(dir.path());
    let cloud = Listener::new(busy());
    let run = async |org: &str, kinds: &[&str], told: usize| {
        let (spool, _) = Spool::open(options.clone(), clock()).unwrap();
        let rig = start(&spool, &cloud, org);
        happened(&spool, kinds).await;
        let mut news = cloud.told.subscribe();
        let waiting = news.wait_for(|all| all.len() >= told);
        drop(tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap());
        rig.cancel.cancel();
        rig.running.await.unwrap().unwrap();
        spool.close().await;
    };
    run("org", &["session.started"], 1).await;
    let (spool, _) = Spool::open(options.clone(), clock()).unwrap();
    happened(&spool, &["session.released"]).await;
    spool.close().await;
    run("org", &["session.aborted"], 3).await;
    assert_eq!(cloud.told(), ["session.started", "session.released", "session.aborted"]);

    let (spool, _) = Spool::open(options.clone(), clock()).unwrap();
    happened(&spool, &["session.released"]).await;
    spool.close().await;
    run("new", &["session.started"], 4).await;
    assert_eq!(cloud.told()[3..], ["session.started"]);
}
