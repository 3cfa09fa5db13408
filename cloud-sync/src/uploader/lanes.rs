//! Deliveries under way, driven by the uploader's own task: dropping them ends them.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use super::Done;

#[derive(Default)]
pub(super) struct Lanes(Vec<Lane>);

struct Lane {
    /// None when it is no delivery: takes no room from one.
    destination: Option<String>,
    work: Pin<Box<dyn Future<Output = Done> + Send>>,
}

impl Lanes {
    pub fn push(&mut self, destination: &str, work: impl Future<Output = Done> + Send + 'static) {
        self.0.push(Lane { destination: Some(destination.to_owned()), work: Box::pin(work) });
    }

    /// What takes no room from deliveries.
    pub fn push_aside(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        self.0.push(Lane { destination: None, work: Box::pin(work) });
    }

    pub fn under_way(&self, destination: &str) -> usize {
        self.0.iter().filter(|lane| lane.destination.as_deref() == Some(destination)).count()
    }

    /// The next one that ends; never, when none is under way.
    pub async fn next(&mut self) -> Done {
        std::future::poll_fn(|context| {
            for nth in 0..self.0.len() {
                if let Poll::Ready(done) = self.0[nth].work.as_mut().poll(context) {
                    drop(self.0.remove(nth));
                    return Poll::Ready(done);
                }
            }
            Poll::Pending
        })
        .await
    }
}
