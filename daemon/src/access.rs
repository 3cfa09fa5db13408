//! Who may do what: one line an endpoint, and the guard that reads it before any handler runs.
//!
//! A request without a line here is refused, so a new endpoint cannot be forgotten. Before the line is read, the guard
//! checks what a browser on a foreign page could forge: the `Host` (a name that somebody else's DNS points here), the
//! `Origin` of everything that is not a GET, and its content type, which must be JSON: no HTML form can send that.
//! People sign in with accounts of this station ([`accounts`]); without any account only this machine itself is
//! let in, and the panel does not listen beyond it. The Unix socket is for root and the service's group: whoever can
//! open it is let in as themselves.

pub mod accounts;
mod guard;

use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::http::Method;
use axum::serve::IncomingStream;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use utoipa::ToSchema;

use crate::command::{Actor, Place};

pub use guard::{Guard, cookie, guard};

/// What a person is on this station (V-12, and the technician).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the booth; sees the sessions that they began.
    Operator,
    /// Sees every session of the site, accepts what the rules do not.
    Reviewer,
    /// Looks after the station.
    Technician,
    /// Everything, accounts included.
    Admin,
}

impl Role {
    /// As written in actors and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Reviewer => "reviewer",
            Self::Technician => "technician",
            Self::Admin => "admin",
        }
    }

    /// May accept flagged or missing frames by name and reason.
    pub fn accepts(self) -> bool {
        self != Self::Operator
    }

    /// Looks after the station: calibrations, flags, diagnostics.
    pub fn cares(self) -> bool {
        matches!(self, Self::Technician | Self::Admin)
    }

    /// Sees sessions that others began.
    pub fn sees_all(self) -> bool {
        self != Self::Operator
    }
}

/// Who asks, as the guard found out. Every handler finds one in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// For the audit log: `operator:ana`, `cli:root`, `panel:local`.
    pub actor: Actor,
    /// What they may.
    pub role: Role,
    /// They signed in; otherwise they sit at this machine.
    pub signed_in: bool,
    /// At the rig by its own display or command line, or where they are known again by their sign-in.
    pub place: Place,
}

impl Visitor {
    /// Somebody at this machine, on a station without accounts.
    pub fn local() -> Self {
        Self {
            actor: Actor("panel:local".to_owned()),
            role: Role::Admin,
            signed_in: false,
            place: Place::AtRig,
        }
    }

    /// Somebody whom the guard did not look at: may nothing that has a line.
    pub fn nobody() -> Self {
        let place = Place::Afar(String::new());
        Self { actor: Actor("nobody".to_owned()), role: Role::Operator, signed_in: false, place }
    }

    /// The name to show: empty where nobody signed in.
    pub fn name(&self) -> &str {
        if self.signed_in { self.actor.who() } else { "" }
    }

    /// The person at the command line; perhaps over the network.
    pub fn cli(actor: Actor) -> Self {
        let place = Place::Afar(actor.0.clone());
        Self { actor, role: Role::Admin, signed_in: false, place }
    }

    /// They use the rig's own display, or its own command line.
    pub fn at_rig(&self) -> bool {
        self.place == Place::AtRig
    }
}

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Over the network, or from this machine.
    Tcp(SocketAddr),
    /// Over the Unix socket, by a user of this machine.
    Unix {
        /// Who, by the kernel's word.
        uid: u32,
    },
    /// From this process: a command that runs the station itself.
    Process(Actor),
}

impl Peer {
    /// For the audit log.
    pub fn name(&self) -> String {
        match self {
            Self::Tcp(address) => address.ip().to_string(),
            Self::Unix { .. } => "socket".to_owned(),
            Self::Process(_) => "process".to_owned(),
        }
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self::Tcp(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let uid = stream.io().peer_cred().map_or(u32::MAX, |peer| peer.uid());
        Self::Unix { uid }
    }
}

/// Who an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Whoever can reach it.
    Anyone,
    /// These, signed in, or at this machine while there are no accounts.
    Roles(&'static [Role]),
}

/// Everybody with an account.
const ALL: For = For::Roles(&[Role::Operator, Role::Reviewer, Role::Technician, Role::Admin]);
/// Those who run the booth.
const BOOTH: For = For::Roles(&[Role::Operator, Role::Technician, Role::Admin]);
/// Those who decide what is sent.
const QUEUE: For = For::Roles(&[Role::Reviewer, Role::Technician, Role::Admin]);

/// Those who look after the station.
const CARE: For = For::Roles(&[Role::Technician, Role::Admin]);

/// One endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// As the router knows it.
    pub path: &'static str,
    /// Who may use it.
    pub may: For,
}

const fn get(path: &'static str, may: For) -> Endpoint {
    Endpoint { method: "GET", path, may }
}

const fn post(path: &'static str, may: For) -> Endpoint {
    Endpoint { method: "POST", path, may }
}

/// Every endpoint of the station. A GET changes nothing.
#[rustfmt::skip]
pub const ENDPOINTS: &[Endpoint] = &[
    get("/", ALL),
    get("/sessions", ALL),
    get("/sessions/{id}", ALL),
    get("/panel/stream", ALL),
    get("/sign-in", For::Anyone),
    get("/assets/{hash}/{file}", For::Anyone),
    get("/healthz", For::Anyone),
    get("/readyz", For::Anyone),
    get("/metrics", ALL),
    get("/api/openapi.json", For::Anyone),
    get("/api/v1/status", ALL),
    get("/api/v1/sessions", ALL),
    get("/api/v1/sessions/{id}", ALL),
    get("/api/v1/sessions/{id}/records", ALL),
    get("/api/v1/frames/{sequence}/thumbnail", ALL),
    get("/api/v1/frames/{sequence}/original", ALL),
    get("/api/v1/recipes", ALL),
    get("/api/v1/queue", ALL),
    get("/api/v1/cameras/health", ALL),
    get("/api/v1/events", ALL),
    get("/api/v1/stream", ALL),
    post("/api/v1/sign-in", For::Anyone),
    post("/api/v1/sign-out", For::Anyone),
    // A stop is for whoever sees the table move.
    post("/api/v1/commands/stop", ALL),
    post("/api/v1/commands/start", BOOTH),
    post("/api/v1/commands/pause", BOOTH),
    post("/api/v1/commands/resume", BOOTH),
    post("/api/v1/commands/retake", BOOTH),
    post("/api/v1/commands/abort", BOOTH),
    // Who may accept flagged frames with it: Role::accepts.
    post("/api/v1/commands/release", ALL),
    post("/api/v1/commands/move-item", BOOTH),
    post("/api/v1/commands/open", ALL),
    post("/api/v1/commands/requeue", QUEUE),
    post("/api/v1/identify", CARE),
    get("/api/v1/flags", CARE),
    post("/api/v1/flags", CARE),
    get("/api/v1/diagnostics", CARE),
    get("/api/v1/calibrations", CARE),
    post("/api/v1/calibrations", CARE),
    post("/api/v1/calibrations/turn", CARE),
    post("/api/v1/calibrations/plate", CARE),
    post("/api/v1/calibrations/axis/turn", CARE),
    post("/api/v1/calibrations/axis", CARE),
    post("/api/v1/calibrations/forget", CARE),
    post("/api/v1/commands/reset-camera", CARE),
    // Whoever does not stand at the rig needs the code on its display.
    post("/api/v1/commands/arm", BOOTH),
    post("/api/v1/commands/disarm", ALL),
    // The button itself is at the rig.
    post("/api/v1/commands/test-emergency-stop", BOOTH),
    post("/api/v1/commands/answer", BOOTH),
    get("/api/v1/update", CARE),
    post("/api/v1/update/install", CARE),
    post("/api/v1/update/cancel", CARE),
    post("/api/v1/update/mark-good", CARE),
    post("/api/v1/update/rollback", CARE),
    post("/api/v1/update/reboot", CARE),
];

/// The line of an endpoint.
pub fn endpoint(method: &Method, path: &str) -> Option<&'static Endpoint> {
    // What can be read can be asked for without its body.
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    ENDPOINTS.iter().find(|endpoint| endpoint.method == method && endpoint.path == path)
}

/// Whether a role may use a command, for the control that sends it.
pub fn allows(role: Role, command: &str) -> bool {
    let path = format!("/api/v1/commands/{command}");
    let line = ENDPOINTS.iter().find(|endpoint| endpoint.path == path);
    line.is_none_or(|endpoint| match endpoint.may {
        For::Anyone => true,
        For::Roles(roles) => roles.contains(&role),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_one_line() {
        for (nth, one) in ENDPOINTS.iter().enumerate() {
            let same = |other: &&Endpoint| other.method == one.method && other.path == one.path;
            assert_eq!(ENDPOINTS.iter().filter(same).count(), 1, "{nth}: {} {}", one.method, one.path);
        }
    }

    #[test]
    fn an_operator_runs_the_booth_and_does_not_requeue_or_accept() {
        let may = |path: &str| match endpoint(&Method::POST, path).map(|endpoint| endpoint.may) {
            Some(For::Roles(roles)) => roles.contains(&Role::Operator),
            other => panic!("{path}: {other:?}"),
        };
        assert!(may("/api/v1/commands/start") && may("/api/v1/commands/stop"));
        assert!(!may("/api/v1/commands/requeue") && !may("/api/v1/commands/reset-camera"));
        assert!(!Role::Operator.accepts());
    }

    #[test]
    fn a_reviewer_can_always_stop_and_never_start() {
        let may = |path: &str| match endpoint(&Method::POST, path).map(|endpoint| endpoint.may) {
            Some(For::Roles(roles)) => roles.contains(&Role::Reviewer),
            other => panic!("{path}: {other:?}"),
        };
        assert!(may("/api/v1/commands/stop"));
        assert!(!may("/api/v1/commands/start") && !may("/api/v1/commands/resume"));
    }
}
