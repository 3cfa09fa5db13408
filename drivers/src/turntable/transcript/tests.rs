//! A script holds a speaker to what is written: what differs is found, with its line.

use crate::link::LinkError;
use crate::link::script::Step;

use super::*;

fn step(line: usize, step: Step) -> (usize, Step) {
    (line, step)
}

fn hear(text: &str) -> Step {
    Step::Hear(text.as_bytes().to_vec())
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

const LIMIT: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn answers_come_in_their_time_and_what_is_sent_may_come_in_pieces() {
    let script = Script::default();
    let mut link = script.link();
    let pass = Step::Pass(Duration::from_secs(3));
    script.load([step(1, send("CT();")), step(2, pass), step(3, hear("CR+OK;")), step(4, Step::Lose)]);
    link.send(b"CT", LIMIT).await.unwrap();
    link.send(b"();", LIMIT).await.unwrap();
    let mut into = Vec::new();
    let begun = tokio::time::Instant::now();
    assert!(matches!(link.receive(&mut into, LIMIT).await, Err(LinkError::Silent { .. })));
    assert_eq!(link.receive(&mut into, LIMIT * 5).await.unwrap(), 6);
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert!(matches!(link.receive(&mut into, LIMIT).await, Err(LinkError::Lost { .. })));
    assert_eq!(script.end(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_differs_is_told_with_the_line() {
    let script = Script::default();
    let mut link = script.link();
    script.load([step(7, send("G1 X30\n"))]);
    assert!(link.send(b"G1 X31\n", LIMIT).await.is_err());
    let told = script.end().unwrap_err().to_string();
    assert_eq!(told, "line 7: expected \"G1 X30\\n\" to be sent, but \"G1 X31\\n\" was sent");

    let mut link = script.link();
    script.load([step(3, Step::Pass(LIMIT)), step(4, send("go"))]);
    assert!(link.send(b"go", LIMIT).await.is_err(), "it is too early");
    assert!(script.end().unwrap_err().to_string().starts_with("line 3: expected 1s to pass"));

    script.load([step(5, send("stop"))]);
    let told = script.end().unwrap_err().to_string();
    assert_eq!(told, "line 5: expected \"stop\" to be sent, but it came to its end before");
}

#[test]
fn times_are_written_with_their_unit() {
    assert_eq!(duration("200ms"), Some(Duration::from_millis(200)));
    assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
    assert_eq!(duration("3"), None);
    assert_eq!(duration("-3s"), None);
}
