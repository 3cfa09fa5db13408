//! What a manager may ask of a station: one line a command, with who may and what it takes.
//!
//! A command is signed, names its station, has an end of validity and a counter. It is judged in the order of
//! [`judge`]; what passes is on record ([`super::ledger`]) before it is obeyed. None of them moves a table by itself: a
//! session that is started from afar turns only where somebody at the rig has armed it, and nothing here arms, goes on
//! after a stop, or references.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use turnstage_cloud_sync::{ClockQuality, Sha256, Stamp};

use crate::access::Role;
use crate::command::Refusal;
use crate::diagnostics::LogRange;

use super::signed::TrustedKey;

/// Version of [`Claims`].
pub const COMMAND_SCHEMA: u32 = 1;
/// A command may be valid for so long at most.
pub const VALID_MS_MAX: i64 = 24 * 3600 * 1000;
/// Two clocks may differ by so much.
const CLOCKS_MS: i64 = 5 * 60 * 1000;

/// What a signed command says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// [`COMMAND_SCHEMA`] of the writer.
    pub schema: u32,
    /// Chosen by the sender, 1 to 64 of `A-Z a-z 0-9 . _ -`: the same id is obeyed once.
    pub id: String,
    /// Name of the command, as in its topic.
    #[serde(rename = "type")]
    pub kind: String,
    /// `ORG/SITE/STATION`: nobody else is meant.
    pub station: String,
    /// Who asks; stands in the audit log. Of the characters of an id, and `@`.
    pub sender: String,
    /// Higher than that of every command before by this sender to this station.
    pub counter: u64,
    /// When it was signed, in ms since 1970.
    pub issued_ms: i64,
    /// It is not obeyed from then on, in ms since 1970; at most a day later.
    pub expires_ms: i64,
    /// What it takes, by type.
    pub arguments: Value,
}

/// A command in its own terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "arguments", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Begin a session, where the rig is armed by somebody at it or needs no motion.
    Start {
        /// VIN, barcode or number.
        item: String,
        /// Name of the recipe; the configured one if absent.
        recipe: Option<String>,
    },
    /// Halt the table now; the session pauses.
    Stop {},
    /// End the session without release.
    Abort {},
    /// Shoot frames again, under the same conditions as `start`.
    Retake {
        /// Numbers from 1; empty: all that a rule flagged.
        frames: Vec<u32>,
    },
    /// Send parked pictures once more.
    Requeue {
        /// Only this session's, or all.
        session: Option<String>,
    },
    /// Blink, so that somebody finds the station.
    Identify {
        /// For so long, 1 to 600.
        seconds: u32,
    },
    /// Set or clear a flag.
    SetFlag {
        /// Which.
        flag: String,
        /// Set or cleared.
        on: bool,
        /// Why, for whoever stands before the station.
        reason: String,
    },
    /// Upload a diagnostics bundle.
    Diagnostics {
        /// Where it is PUT, https.
        url: String,
    },
    /// Upload a part of the log as JSON lines.
    Logs {
        /// Which part of which log.
        log: LogRange,
        /// Where it is PUT, https.
        url: String,
    },
    /// Replace a secret of the station by one that it fetches.
    RotateSecret {
        /// `broker-password`, or `destination-token:NAME`.
        secret: String,
        /// Where it is fetched, https. Absent: the destination is asked to renew its token.
        url: Option<String>,
        /// Hash of what is fetched.
        sha256: Option<Sha256>,
    },
    /// End the program; the service manager starts it again.
    Restart {},
    /// Restart the machine.
    Reboot {},
    /// Fetch, install and prove another version of the whole system.
    Update {
        /// Where the bundle is fetched, https.
        url: String,
        /// Hash of the bundle.
        sha256: Sha256,
        /// Its version, for people.
        version: String,
    },
}

/// One command, and who may send it.
pub struct Line {
    /// As in its topic.
    pub kind: &'static str,
    /// Whose keys may.
    pub may: &'static [Role],
}

const BOOTH: &[Role] = &[Role::Operator, Role::Technician, Role::Admin];
const QUEUE: &[Role] = &[Role::Reviewer, Role::Technician, Role::Admin];
const CARE: &[Role] = &[Role::Technician, Role::Admin];
const ALL: &[Role] = &[Role::Operator, Role::Reviewer, Role::Technician, Role::Admin];
const ADMIN: &[Role] = &[Role::Admin];

const fn line(kind: &'static str, may: &'static [Role]) -> Line {
    Line { kind, may }
}

/// Every command that there is; who may is as on the station itself (`access.rs`), and what changes trust is for admins.
pub const LINES: &[Line] = &[
    line("start", BOOTH),
    line("stop", ALL),
    line("abort", BOOTH),
    line("retake", BOOTH),
    line("requeue", QUEUE),
    line("identify", ALL),
    line("set-flag", CARE),
    line("diagnostics", CARE),
    line("logs", CARE),
    line("restart", CARE),
    line("reboot", CARE),
    line("rotate-secret", ADMIN),
    line("update", ADMIN),
];

/// Whose keys may configure.
pub const MAY_CONFIGURE: &[Role] = ADMIN;

impl Order {
    /// From the two parts of a command.
    pub fn read(kind: &str, arguments: &Value) -> Result<Self, Refusal> {
        if !LINES.iter().any(|line| line.kind == kind) {
            let known: Vec<&str> = LINES.iter().map(|line| line.kind).collect();
            let reason = format!("There is no command \"{kind}\"; there are: {}.", known.join(", "));
            return Err(Refusal::new("command-unknown", reason));
        }
        let whole = serde_json::json!({ "type": kind, "arguments": arguments });
        serde_json::from_value(whole).map_err(|error| {
            Refusal::new("arguments-invalid", format!("What \"{kind}\" takes cannot be read: {error}."))
        })
    }

    /// Whether it does no harm whenever it comes: only such a command is obeyed while the clock is unset.
    fn is_harmless(kind: &str) -> bool {
        matches!(kind, "stop" | "identify")
    }
}

/// Whether the form of a command is one that can be put on record at all.
pub fn well_formed(claims: &Claims, topic: (&str, &str), station: &str) -> Result<(), Refusal> {
    let name = |text: &str, more: &str| {
        let fits = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char) || more.contains(char);
        (1..=64).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('.')
    };
    if claims.schema != COMMAND_SCHEMA {
        let reason =
            format!("The command has schema {}, this version reads {COMMAND_SCHEMA}.", claims.schema);
        return Err(Refusal::new("schema-unknown", reason));
    }
    if !name(&claims.id, "") || !name(&claims.sender, "@") {
        let reason = "Id and sender must be 1 to 64 letters, digits, dots, dashes or underscores.";
        return Err(Refusal::new("command-malformed", reason));
    }
    if (claims.kind.as_str(), claims.id.as_str()) != topic {
        let reason =
            format!("It is \"{}\" {}, and came under the topic of another command.", claims.kind, claims.id);
        return Err(Refusal::new("topic-wrong", reason));
    }
    if claims.station != station {
        let reason = format!("It is for the station {}, and this one is {station}.", claims.station);
        return Err(Refusal::new("station-wrong", reason));
    }
    Ok(())
}

/// Whether a well-formed command may be obeyed now; `known_ms` is the latest time that has certainly passed.
pub fn judge(claims: &Claims, key: &TrustedKey, now: &Stamp, known_ms: i64) -> Result<Order, Refusal> {
    let order = Order::read(&claims.kind, &claims.arguments)?;
    let may =
        LINES.iter().find(|line| line.kind == claims.kind).is_some_and(|line| line.may.contains(&key.role));
    if !may {
        let reason = format!("The key \"{}\" is a {}'s, who may not ask for this.", key.id, key.role.name());
        return Err(Refusal::new("role-not-allowed", reason));
    }
    if claims.expires_ms.saturating_sub(claims.issued_ms) > VALID_MS_MAX {
        return Err(Refusal::new("expiry-too-far", "A command may be valid for a day at most."));
    }
    timely(claims, now, known_ms)?;
    Ok(order)
}

/// Whether a command comes in time, as far as this station knows the time. A clock that is behind would obey what
/// expired long ago: so the latest time that has certainly passed counts too, and a command from the future shows that
/// the clock is wrong.
pub fn timely(claims: &Claims, now: &Stamp, known_ms: i64) -> Result<(), Refusal> {
    let harmless = Order::is_harmless(&claims.kind);
    if now.quality == ClockQuality::Unset && !harmless {
        let reason =
            "This station does not know the time, so it cannot tell whether the command is still valid.";
        return Err(Refusal::new("clock-unset", reason));
    }
    let unset = now.quality == ClockQuality::Unset;
    let now_ms = if unset { known_ms } else { now.wall_ms.max(known_ms) };
    if now_ms >= claims.expires_ms {
        return Err(Refusal::new("command-expired", "The command came after the end of its validity."));
    }
    if !harmless && claims.issued_ms > now_ms.saturating_add(CLOCKS_MS) {
        let reason =
            "The command was signed in the future of this station's clock: the clock here or there is wrong.";
        return Err(Refusal::new("clock-behind", reason));
    }
    Ok(())
}

/// The latest time that a verified command proves to have passed: nobody signs in their own future by more than clocks
/// differ. A clock that is synchronised proves itself.
pub fn proven_ms(claims: &Claims, now: &Stamp) -> i64 {
    match now.quality {
        ClockQuality::Synced => now.wall_ms,
        _ => claims.issued_ms.saturating_sub(CLOCKS_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW_MS: i64 = 1_796_000_000_000;

    fn claims(kind: &str, arguments: Value) -> Claims {
        Claims {
            schema: COMMAND_SCHEMA,
            id: "c-1".into(),
            kind: kind.into(),
            station: "org/site/booth".into(),
            sender: "ana@hq".into(),
            counter: 1,
            issued_ms: NOW_MS - 1000,
            expires_ms: NOW_MS + 60_000,
            arguments,
        }
    }

    fn key(role: Role) -> TrustedKey {
        TrustedKey { id: "hq".into(), public: String::new(), role }
    }

    fn at(wall_ms: i64, quality: ClockQuality) -> Stamp {
        Stamp { wall_ms, quality, boottime_ms: 0, boot_id: "b".into() }
    }

    fn rule(claims: &Claims, role: Role, now: &Stamp, known_ms: i64) -> String {
        judge(claims, &key(role), now, known_ms).map_or_else(|refusal| refusal.rule, |_| "ok".into())
    }

    #[test]
    fn every_line_is_an_order_and_every_order_has_a_line() {
        let text = |kind: &str| match kind {
            "start" => json!({ "item": "x", "recipe": null }),
            "retake" => json!({ "frames": [3] }),
            "requeue" => json!({ "session": null }),
            "identify" => json!({ "seconds": 30 }),
            "set-flag" => json!({ "flag": "out-of-service", "on": true, "reason": "lens" }),
            "diagnostics" => json!({ "url": "https://x.example/" }),
            "logs" => json!({ "log": { "kind": "events", "limit": 10 }, "url": "https://x.example/" }),
            "rotate-secret" => json!({ "secret": "broker-password", "url": null, "sha256": null }),
            "update" => json!({ "url": "https://x.example/", "sha256": "0".repeat(64), "version": "2" }),
            _ => json!({}),
        };
        for line in LINES {
            let order = Order::read(line.kind, &text(line.kind)).unwrap();
            assert_eq!(json!(order)["type"], line.kind);
        }
        for never in ["arm", "resume", "home", "jog", "disarm", "reference", "measure", "answer", "calibrate"]
        {
            assert_eq!(Order::read(never, &json!({})).unwrap_err().rule, "command-unknown", "{never}");
        }
        let more = json!({ "item": "x", "recipe": null, "armed": true });
        assert_eq!(Order::read("start", &more).unwrap_err().rule, "arguments-invalid");
    }

    #[test]
    fn a_key_may_what_its_role_may_and_no_more() {
        let now = at(NOW_MS, ClockQuality::Synced);
        let reboot = claims("reboot", json!({}));
        assert_eq!(rule(&reboot, Role::Technician, &now, 0), "ok");
        assert_eq!(rule(&reboot, Role::Operator, &now, 0), "role-not-allowed");
        let start = claims("start", json!({ "item": "x", "recipe": null }));
        assert_eq!(rule(&start, Role::Reviewer, &now, 0), "role-not-allowed");
        assert_eq!(rule(&claims("stop", json!({})), Role::Reviewer, &now, 0), "ok");
    }

    #[test]
    fn a_command_is_never_obeyed_late_whatever_the_clock_says() {
        let start = claims("start", json!({ "item": "x", "recipe": null }));
        let told = |wall_ms, quality, known_ms| rule(&start, Role::Admin, &at(wall_ms, quality), known_ms);
        use ClockQuality::{Rtc, Synced, Unset};
        assert_eq!(told(NOW_MS, Synced, 0), "ok");
        assert_eq!(told(NOW_MS, Rtc, 0), "ok");
        assert_eq!(told(start.expires_ms, Synced, 0), "command-expired");
        assert_eq!(
            told(NOW_MS, Rtc, start.expires_ms),
            "command-expired",
            "a clock that is behind what is known"
        );
        assert_eq!(told(NOW_MS - 86_400_000, Rtc, 0), "clock-behind");
        assert_eq!(told(0, Unset, 0), "clock-unset");
        let long = Claims { expires_ms: NOW_MS + VALID_MS_MAX, ..start.clone() };
        assert_eq!(rule(&long, Role::Admin, &at(NOW_MS, Synced), 0), "expiry-too-far");
    }

    #[test]
    fn a_stop_is_obeyed_without_a_clock() {
        let stop = claims("stop", json!({}));
        assert_eq!(rule(&stop, Role::Operator, &at(0, ClockQuality::Unset), 0), "ok");
        assert_eq!(
            rule(&stop, Role::Operator, &at(0, ClockQuality::Unset), stop.expires_ms),
            "command-expired"
        );
    }

    #[test]
    fn a_command_for_somebody_else_or_under_another_topic_is_not_taken() {
        let stop = claims("stop", json!({}));
        let told = |claims: &Claims, topic, station| {
            well_formed(claims, topic, station).map_err(|refusal| refusal.rule)
        };
        assert_eq!(told(&stop, ("stop", "c-1"), "org/site/booth"), Ok(()));
        assert_eq!(told(&stop, ("stop", "c-1"), "org/site/other"), Err("station-wrong".into()));
        assert_eq!(told(&stop, ("start", "c-1"), "org/site/booth"), Err("topic-wrong".into()));
        let path = Claims { id: "../x".into(), ..stop.clone() };
        assert_eq!(told(&path, ("stop", "../x"), "org/site/booth"), Err("command-malformed".into()));
        let newer = Claims { schema: 2, ..stop };
        assert_eq!(told(&newer, ("stop", "c-1"), "org/site/booth"), Err("schema-unknown".into()));
    }
}
