//! Signing in and out, each on record.

use std::net::{IpAddr, Ipv4Addr};

use axum::Extension;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{ANSWER_LIMIT, Body, Here};
use crate::access::accounts::{COOKIE, NotSignedIn};
use crate::access::{Peer, cookie};
use crate::audit;
use crate::command::Actor;

/// Of a browser's name, so much is put on record.
const AGENT_CHARS_MAX: usize = 200;
/// A browser keeps its token for a week; how long it is good for is decided here.
const COOKIE_S: u32 = 7 * 24 * 3600;

/// Who signs in.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInBody {
    /// Name of the account.
    pub name: String,
    /// Its password.
    pub password: String,
}

/// Nothing to say.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOutBody {
    /// As with every command; signing out twice is signing out.
    pub id: Option<String>,
}

/// Signs a browser in: the answer sets a cookie.
#[utoipa::path(post, path = "/api/v1/sign-in", tag = "access", request_body = SignInBody,
    responses((status = 204), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub async fn sign_in(
    State(api): Here,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<Peer>>,
    headers: HeaderMap,
    Body(SignInBody { name, password }): Body<SignInBody>,
) -> Result<Response, Problem> {
    let from = match peer {
        Peer::Tcp(address) => address.ip(),
        Peer::Unix { .. } | Peer::Process(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    // One at a time: each costs the memory and the time of a hash that is made to be costly.
    let Ok(_door) = tokio::time::timeout(ANSWER_LIMIT, api.door.acquire()).await else {
        return Err(Problem::told("sign-in-wait", 429, "Many people sign in at once. Try again.".to_owned()));
    };
    let (accounts, who) = (api.accounts.clone(), name.clone());
    let signed_in = tokio::task::spawn_blocking(move || accounts.sign_in(from, &who, &password)).await;
    let signed_in = signed_in.map_err(|_| Problem::of("name-or-password", 401))?;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let agent: String = agent.chars().take(AGENT_CHARS_MAX).collect();
    let mut data = json!({ "ip_address": from.to_string(), "user_agent": agent });
    match signed_in {
        Ok(token) => {
            let visitor = api.accounts.visitor(&token).ok_or_else(|| Problem::of("name-or-password", 401))?;
            api.window.record(audit::entry("access.signed-in", &visitor.actor, None, data)).await;
            let secure =
                if headers.get("x-forwarded-proto").is_some_and(|p| p == "https") { "; Secure" } else { "" };
            let cookie =
                format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={COOKIE_S}{secure}");
            Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
        }
        Err(reason) => {
            let actor = Actor(format!("address:{from}"));
            // What is typed as a name and is none may be a password.
            if api.accounts.people().contains_key(&name) {
                data["name"] = json!(name);
            }
            let event = audit::entry("access.not-signed-in", &actor, None, data);
            api.window.record_stranger(&from.to_string(), event).await;
            Err(match reason {
                NotSignedIn::Wrong => Problem::of("name-or-password", 401),
                NotSignedIn::Wait(wait) => {
                    let told =
                        format!("Too many wrong passwords. Wait {} s, then try again.", wait.as_secs() + 1);
                    Problem::told("sign-in-wait", 429, told)
                }
            })
        }
    }
}

/// Signs the browser out.
#[utoipa::path(post, path = "/api/v1/sign-out", tag = "access", request_body = SignOutBody, responses((status = 204)))]
pub async fn sign_out(State(api): Here, headers: HeaderMap, Body(body): Body<SignOutBody>) -> Response {
    let SignOutBody { id: _ } = body;
    if let Some(token) = cookie(&headers, COOKIE) {
        if let Some(visitor) = api.accounts.visitor(token) {
            api.window.record(audit::entry("access.signed-out", &visitor.actor, None, json!({}))).await;
        }
        api.accounts.sign_out(token);
    }
    let gone = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response()
}
