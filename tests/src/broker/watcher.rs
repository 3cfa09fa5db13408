//! What a broker's other clients hear, recorded by `mosquitto_sub`, which shares no code with us.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::sync::watch;
use tokio::time::timeout;

use crate::PATIENCE;

/// A message as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its topic.
    pub topic: String,
    /// What was said.
    pub payload: String,
    /// Whether the broker had kept it.
    pub retained: bool,
}

/// See the module. It comes back by itself when the broker does, to the same session. Ends when it is dropped.
pub struct Watcher {
    process: Child,
    heard: watch::Receiver<Record>,
}

/// Everything so far, in the order in which it was heard.
#[derive(Debug, Default)]
struct Record {
    subscribed: bool,
    messages: Vec<Heard>,
}

impl Watcher {
    /// Listens to `filter` on the broker at `port`; does so when this returns.
    pub async fn start(port: u16, user: Option<(&str, &str)>, filter: &str) -> Self {
        // Without a terminal its output would come in blocks.
        let mut command = Command::new("stdbuf");
        command.args([
            "-oL",
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-V",
            "5",
            "-q",
            "1",
            "-c",
            "-x",
            "3600",
            "-d",
        ]);
        command.args(["-p", &port.to_string(), "-t", filter, "-F", "heard %r %t %x"]);
        command.args(["-i", &format!("watcher-{filter}")]);
        if let Some((name, password)) = user {
            command.args(["-u", name, "-P", password]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("stdbuf and mosquitto_sub run");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let (record, heard) = watch::channel(Record::default());
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| record.send_modify(|record| record.note(&line)));
        });
        let mut watcher = Self { process, heard };
        watcher.wait("it subscribes", |record| record.subscribed).await;
        watcher
    }

    async fn wait(&mut self, what: &str, is: impl Fn(&Record) -> bool) {
        let waited = timeout(PATIENCE, self.heard.wait_for(|record| is(record))).await;
        match waited.map(|heard| heard.map(drop)) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => panic!("mosquitto_sub ended before {what}"),
            Err(_) => panic!("not heard: {what}: {:?}", self.heard()),
        }
    }

    /// Waits until what was heard is enough for `is`; all of it.
    pub async fn until(&mut self, what: &str, is: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        self.wait(what, |record| is(&record.messages)).await;
        self.heard()
    }

    /// Everything so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.borrow().messages.clone()
    }
}

impl Record {
    fn note(&mut self, line: &str) {
        self.subscribed |= line.contains("received SUBACK");
        let Some(rest) = line.strip_prefix("heard ") else { return };
        let mut words = rest.splitn(3, ' ');
        let (Some(retained), Some(topic)) = (words.next(), words.next()) else { return };
        let payload = words.next().unwrap_or_default();
        let bytes = payload
            .as_bytes()
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let payload = String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned();
        self.messages.push(Heard { topic: topic.to_owned(), payload, retained: retained == "1" });
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
