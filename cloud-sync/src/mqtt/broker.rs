//! Where the broker is, who we are to it, and the files that prove it.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Trouble, TroubleKind};

/// Largest password, certificate or key file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the broker is, and who we are to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Broker {
    /// Name or address; the server's certificate must carry it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Our name to the broker; a second client with the same one takes the connection over.
    pub client_id: String,
    /// Name for the broker's access rules.
    pub username: Option<String>,
    /// File with the password of `username`: read anew at each connect, white space at its ends ignored.
    pub password_file: Option<PathBuf>,
    /// Without it the connection is plain, which only this machine's own broker may have: see [`Broker::parse`].
    pub tls: Option<Tls>,
    /// A sign of life is asked for so often, 5 s at least; a broker silent for two and a half of them is gone.
    pub keep_alive: Duration,
    /// How long the broker keeps our subscriptions and what comes for us while we are away; whole seconds.
    pub session_expiry: Duration,
    /// Largest packet either way, in bytes; what is larger is denied here and not sent by the broker.
    pub packet_bytes_max: usize,
    /// After a lost connection the first try begins after a random time up to this, so that a fleet does not return in
    /// one second (K10: 30 s). Waits between later tries begin at a fifteenth of it and grow to four times it.
    pub return_max: Duration,
}

/// How the connection is encrypted. All files are PEM and read anew at each connect, so a renewed one is used.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tls {
    /// Certificates of the authorities that may vouch for the broker; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, where the broker asks for one.
    pub identity: Option<Identity>,
}

/// Our certificate and its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Our certificate, then those between it and the authority.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

impl Broker {
    /// Host, port, and whether TLS is used, of `mqtts://host[:8883]` or `mqtt://host[:1883]`. A plain connection is
    /// accepted to this machine alone (`localhost`, 127.0.0.0/8, `[::1]`).
    ///
    /// # Errors
    /// A sentence that says what is wrong with the address and how it should look.
    pub fn parse(url: &str) -> Result<(String, u16, bool), String> {
        let wrong = |what: &str| {
            format!(
                "\"{url}\" is no broker's address: {what}; write mqtts://broker.example or mqtts://broker.example:8883"
            )
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no mqtts:// before it"))?;
        let tls = match scheme {
            "mqtts" => true,
            "mqtt" => false,
            _ => return Err(wrong("only mqtts:// and mqtt:// are known")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let name_and_port = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                (format!("[{address}]"), port.strip_prefix(':').or(port.is_empty().then_some("")))
            }
            Some(_) => return Err(wrong("what is in brackets is no IPv6 address")),
            None => match rest.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port).filter(|port| !port.is_empty())),
                None => (rest.to_owned(), Some("")),
            },
        };
        let (host, port) = name_and_port;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(wrong(
                "the host may have letters, digits, hyphens and dots, and nothing may follow the port",
            ));
        }
        let port = match port {
            Some("") => Some(if tls { 8883 } else { 1883 }),
            port => port.and_then(|port| port.parse().ok()).filter(|port| *port > 0),
        };
        let port = port.ok_or_else(|| wrong("the port is a number from 1 to 65535"))?;
        if tls && host.starts_with('[') {
            return Err(wrong(
                "certificates are checked by name: use the broker's name instead of its IPv6 address",
            ));
        }
        if !tls && !is_loopback(&host) {
            return Err(format!(
                "\"{url}\" would send passwords and commands in the clear: use mqtts://{host}; mqtt:// is accepted \
                 for a broker on this machine only"
            ));
        }
        Ok((host, port, tls))
    }

    /// Files whose change is worth another try at once.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let tls = self.tls.iter();
        let roots = tls.clone().filter_map(|tls| tls.ca_file.as_deref());
        let identity = tls.filter_map(|tls| tls.identity.as_ref());
        let identity = identity.flat_map(|identity| [&*identity.cert_file, &*identity.key_file]);
        self.password_file.as_deref().into_iter().chain(roots).chain(identity)
    }

    /// How the files look now: another value means that one was changed, appeared or went.
    pub(super) fn look(&self) -> Vec<Option<(SystemTime, u64)>> {
        let look = |file: &Path| {
            let found = std::fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        self.files().map(look).collect()
    }

    /// The password now, if one is asked for.
    pub(super) fn password(&self) -> Result<Option<String>, Trouble> {
        let Some(file) = &self.password_file else { return Ok(None) };
        let text = String::from_utf8(read(file)?).map_err(|_| unreadable(file, "it is not UTF-8 text"))?;
        match text.trim() {
            "" => Err(unreadable(file, "it is empty")),
            password => Ok(Some(password.to_owned())),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A small file's bytes.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let opened = File::open(file).and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match opened {
        Err(error) => Err(unreadable(file, &error.to_string())),
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => Err(unreadable(file, "it has more than 1 MiB")),
        Ok(_) => Ok(bytes),
    }
}

/// Trouble with a file of ours.
pub(super) fn unreadable(file: &Path, what: &str) -> Trouble {
    Trouble {
        kind: TroubleKind::Credentials,
        rule: "broker-file",
        reason: format!(
            "{} cannot be used for the connection to the broker: {what}; put the right file there, readable for this \
             service",
            file.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_brokers_are_read() {
        let read = |url| Broker::parse(url).unwrap();
        assert_eq!(read("mqtts://broker.example"), ("broker.example".to_owned(), 8883, true));
        assert_eq!(read("mqtts://broker.example:443/"), ("broker.example".to_owned(), 443, true));
        assert_eq!(read("mqtts://192.0.2.7:8884"), ("192.0.2.7".to_owned(), 8884, true));
        assert_eq!(read("mqtt://localhost"), ("localhost".to_owned(), 1883, false));
        assert_eq!(read("mqtt://127.0.0.1:18883"), ("127.0.0.1".to_owned(), 18883, false));
        assert_eq!(read("mqtt://[::1]:1884"), ("[::1]".to_owned(), 1884, false));
        assert_eq!(read("mqtt://[::1]"), ("[::1]".to_owned(), 1883, false));
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_with_what_to_write() {
        for url in [
            "",
            "broker",
            "http://broker",
            "mqtts://",
            "mqtts://:8883",
            "mqtts://host:",
            "mqtts://host:0",
            "mqtts://host:99999",
            "mqtts://host/path",
            "mqtts://me:secret@host",
            "mqtts://[::1]",
            "mqtts://[x]:1",
            "mqtts://a b",
            "mqtt://[::1",
            "mqtts://host?x=1",
        ] {
            let refusal = Broker::parse(url).unwrap_err();
            assert!(refusal.contains("mqtts://broker.example"), "{refusal}");
        }
    }

    #[test]
    fn a_plain_connection_leaves_this_machine_never() {
        for url in
            ["mqtt://broker.example", "mqtt://192.0.2.7", "mqtt://localhost.example", "mqtt://10.0.0.1"]
        {
            let refusal = Broker::parse(url).unwrap_err();
            assert!(refusal.contains("in the clear") && refusal.contains("mqtts://"), "{refusal}");
        }
    }

    fn broker(password_file: PathBuf) -> Broker {
        Broker {
            host: "localhost".to_owned(),
            port: 1883,
            client_id: "station".to_owned(),
            username: Some("station".to_owned()),
            password_file: Some(password_file),
            tls: None,
            keep_alive: Duration::from_secs(30),
            session_expiry: Duration::from_secs(3600),
            packet_bytes_max: 1 << 16,
            return_max: Duration::from_secs(30),
        }
    }

    #[test]
    fn a_password_is_read_anew_and_trimmed_and_shows_nowhere() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("password");
        let broker = broker(file.clone());
        let missing = broker.password().unwrap_err();
        assert_eq!((missing.rule, missing.kind), ("broker-file", TroubleKind::Credentials));
        assert!(missing.reason.contains(file.to_str().unwrap()), "{}", missing.reason);
        let before = broker.look();
        std::fs::write(&file, " hush-hush\n").unwrap();
        assert_ne!(broker.look(), before);
        assert_eq!(broker.password().unwrap().as_deref(), Some("hush-hush"));
        assert!(!format!("{broker:?}").contains("hush"));
        std::fs::write(&file, "\n").unwrap();
        assert!(broker.password().unwrap_err().reason.contains("empty"));
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(broker.password().unwrap_err().reason.contains("UTF-8"));
    }
}
