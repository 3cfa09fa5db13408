//! What every request goes through before its handler.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;

use super::accounts::{Accounts, COOKIE, Pass};
use super::{ENDPOINTS, For, Peer, Visitor, endpoint};
use crate::api::problem::Problem;
use crate::audit;
use crate::command::{Actor, Place};
use crate::window::Window;

/// The one command that a sign-in that ended is still good for.
const STOP: &str = "/api/v1/commands/stop";

/// What the guard knows.
#[derive(Clone)]
pub struct Guard {
    /// People of this station.
    pub accounts: Arc<Accounts>,
    /// Names that the panel answers to, beside this machine's own and plain addresses.
    pub hosts: Arc<[String]>,
    /// Where a refusal is put on record.
    pub window: Window,
}

/// Refuses, or lets the request in with a [`Visitor`].
pub async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.clone());
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let (Some(peer), Some(path)) = (peer, path) else {
        return Problem::not_found().into_response();
    };
    let method = request.method().clone();
    let checked = guard.forged(&peer, &method, request.headers());
    let admitted = checked.and_then(|()| guard.admit(&peer, &method, &path, request.headers()));
    match admitted {
        Ok(visitor) => {
            let token = cookie(request.headers(), COOKIE).filter(|_| visitor.signed_in);
            let pass = Pass::new(&guard.accounts, token);
            request.extensions_mut().insert(pass);
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(refused) => {
            let Refused { problem, actor } = *refused;
            if method == Method::POST {
                guard.record(&peer, &path, &problem, &actor).await;
            }
            let reads = method == Method::GET || method == Method::HEAD;
            let page = reads && ["/", "/sessions", "/sessions/{id}"].contains(&path.as_str());
            if page && problem.rule == "sign-in-required" {
                return Redirect::to("/sign-in").into_response();
            }
            problem.into_response()
        }
    }
}

/// A refusal with who was refused.
struct Refused {
    problem: Problem,
    actor: Actor,
}

fn refused(problem: Problem, actor: Actor) -> Box<Refused> {
    Box::new(Refused { problem, actor })
}

impl Guard {
    /// What a browser on a foreign page could send. Sockets of this machine have no browser.
    fn forged(&self, peer: &Peer, method: &Method, headers: &HeaderMap) -> Result<(), Box<Refused>> {
        let Peer::Tcp(address) = peer else { return Ok(()) };
        let nobody = || Actor(format!("address:{}", address.ip()));
        let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if !self.answers_to(host) {
            return Err(refused(Problem::of("host-not-allowed", 421), nobody()));
        }
        if *method == Method::GET || *method == Method::HEAD {
            return Ok(());
        }
        let foreign = match text(header::ORIGIN) {
            Some(origin) => origin != format!("http://{host}") && origin != format!("https://{host}"),
            None => text(header::HeaderName::from_static("sec-fetch-site"))
                .is_some_and(|site| site != "same-origin" && site != "none"),
        };
        if foreign {
            return Err(refused(Problem::of("origin-not-allowed", 403), nobody()));
        }
        let kind = text(header::CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(refused(Problem::of("content-type-not-json", 415), nobody()));
        }
        Ok(())
    }

    /// A plain address cannot be pointed here by somebody else's DNS; a name must be ours.
    fn answers_to(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
            _ => host,
        };
        let plain = name.trim_start_matches('[').trim_end_matches(']');
        plain.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    fn admit(
        &self,
        peer: &Peer,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Visitor, Box<Refused>> {
        // Whoever sees the table move may stop it, even where their sign-in ended meanwhile.
        let known =
            || cookie(headers, COOKIE).filter(|_| path == STOP).and_then(|token| self.accounts.known(token));
        let visitor = self.visitor(peer, headers).or_else(known);
        let actor = || match (&visitor, peer) {
            (Some(visitor), _) => visitor.actor.clone(),
            (None, Peer::Tcp(address)) => Actor(format!("address:{}", address.ip())),
            (None, _) => Actor("unknown".to_owned()),
        };
        let Some(endpoint) = endpoint(method, path) else {
            let (rule, status) = match ENDPOINTS.iter().any(|one| one.path == path) {
                true => ("method-not-allowed", 405),
                false => ("endpoint-unlisted", 403),
            };
            return Err(refused(Problem::of(rule, status), actor()));
        };
        match (endpoint.may, visitor.clone()) {
            (For::Anyone, visitor) => Ok(visitor.unwrap_or_else(|| Visitor {
                actor: actor(),
                role: super::Role::Operator,
                signed_in: false,
                place: Place::Afar(peer.name()),
            })),
            (For::Roles(roles), Some(visitor)) if roles.contains(&visitor.role) => Ok(visitor),
            (For::Roles(_), Some(_)) => Err(refused(Problem::of("role-not-allowed", 403), actor())),
            (For::Roles(_), None) => Err(refused(Problem::of("sign-in-required", 401), actor())),
        }
    }

    fn visitor(&self, peer: &Peer, headers: &HeaderMap) -> Option<Visitor> {
        match peer {
            Peer::Process(actor) => Some(Visitor { place: Place::AtRig, ..Visitor::cli(actor.clone()) }),
            Peer::Unix { uid } => Some(Visitor::cli(Actor(format!("cli:{}", user_name(*uid))))),
            Peer::Tcp(address) => {
                let signed_in = cookie(headers, COOKIE).and_then(|token| self.accounts.visitor(token));
                let open = address.ip().is_loopback() && self.accounts.is_empty();
                let visitor = signed_in.or_else(|| open.then(Visitor::local))?;
                let display = self.window.config().panel.own_display;
                let place = match visitor.place {
                    _ if display && address.ip().is_loopback() && !is_forwarded(headers) => Place::AtRig,
                    Place::AtRig => Place::Afar(peer.name()),
                    known => known,
                };
                Some(Visitor { place, ..visitor })
            }
        }
    }

    /// A refused act is an act: it stands in the audit log.
    async fn record(&self, peer: &Peer, path: &str, problem: &Problem, actor: &Actor) {
        let from = peer.name();
        let data = json!({ "endpoint": path, "rule": problem.rule, "reason": problem.detail, "from": from });
        self.window.record_stranger(&from, audit::entry("access.refused", actor, None, data)).await;
    }
}

/// A proxy on this machine hides who asks, and from where.
fn is_forwarded(headers: &HeaderMap) -> bool {
    let of_proxy = |name: &str| name == "forwarded" || name == "via" || name.starts_with("x-forwarded-");
    headers.keys().any(|name| of_proxy(name.as_str()))
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The name of a user of this machine, or the number.
fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| uid.to_string())
}
