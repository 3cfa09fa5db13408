//! `sessions`: lists them and finishes what is not finished.

use std::io::{BufRead, IsTerminal};

use anyhow::Result;
use clap::Subcommand;

use super::answer::answer;
use super::desk::Desk;
use super::{Place, report, shoot};
use crate::clock::readable;
use crate::command::{Act, Override, Which};
use crate::config::RigConfig;
use crate::exit;

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Lists all, newest last.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Shows one with its findings.
    Show {
        /// Its id.
        session: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Goes on after a pause, a stop, a fault or a power cut; the table looks for its zero first.
    Resume {
        /// Its id.
        session: String,
        /// Shoot the whole turn anew; what was taken stays as history.
        #[arg(long)]
        anew: bool,
        /// Agree beforehand to the place of the platter that a comparison of frames finds (tables without home switch).
        #[arg(long)]
        confirm: bool,
        /// You stand at the rig, see that nobody is on the table, and let it turn; where no station runs.
        #[arg(long)]
        armed: bool,
        /// Release and deliver when every frame passed.
        #[arg(long)]
        release: bool,
        /// Print events and the summary as JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Shoots frames again at exactly their angles.
    Retake {
        /// Its id.
        session: String,
        /// Frames by number, from 1: 17,41. All flagged ones if absent.
        #[arg(long, value_delimiter = ',')]
        frames: Vec<u32>,
        /// You stand at the rig, see that nobody is on the table, and let it turn; where no station runs.
        #[arg(long)]
        armed: bool,
        /// Release and deliver when every frame passed.
        #[arg(long)]
        release: bool,
        /// Print events and the summary as JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Lets the pictures go to their destinations.
    Release {
        /// Its id.
        session: String,
        /// Your name, to accept flagged or missing frames.
        #[arg(long, requires = "reason")]
        accept: Option<String>,
        /// Why they are acceptable.
        #[arg(long, requires = "accept")]
        reason: Option<String>,
    },
    /// Moves the session to another item: a wrong number was scanned.
    Move {
        /// Its id.
        session: String,
        /// The right VIN, barcode or number.
        item: String,
    },
    /// Ends a session without release; its pictures stay on this station and are not delivered.
    Abort {
        /// Its id.
        session: String,
    },
}

/// Does it.
pub async fn perform(place: &Place, what: What) -> Result<u8> {
    let json = matches!(what, What::Resume { json: true, .. } | What::Retake { json: true, .. });
    let shoots = matches!(what, What::Resume { .. } | What::Retake { .. });
    let config = || {
        let mut config = place.config_of_data()?;
        if !shoots {
            // Nothing is shot: cameras and table are left alone.
            config.rig = RigConfig::default();
        }
        Ok(config)
    };
    let mut desk = Desk::open(place, config, json).await?;
    let code = act(&mut desk, what).await;
    desk.close().await;
    code
}

async fn act(desk: &mut Desk, what: What) -> Result<u8> {
    match what {
        What::List { json } => list(desk, json).await,
        What::Show { session, json } => {
            report::session(desk, &session, json).await?;
            Ok(exit::OK)
        }
        What::Resume { session, anew, confirm, armed, release, json } => {
            desk.arm(armed).await?;
            let go = |confirm| Act::Resume { session: Some(session.clone()), anew, confirm };
            desk.ask(go(false)).await?;
            let mut state = desk.follow(&session).await?;
            if found_place(desk).await? && (confirm || agrees(desk).await?) {
                desk.ask(go(true)).await?;
                state = desk.follow(&session).await?;
            }
            shoot::conclude(desk, &session, state, release, json).await
        }
        What::Retake { session, frames, armed, release, json } => {
            desk.arm(armed).await?;
            desk.ask(Act::Open { session: session.clone() }).await?;
            let which = if frames.is_empty() { Which::Flagged } else { Which::Frames(frames) };
            desk.ask(Act::Retake { which }).await?;
            let state = desk.follow(&session).await?;
            shoot::conclude(desk, &session, state, release, json).await
        }
        What::Release { session, accept, reason } => {
            desk.ask(Act::Open { session: session.clone() }).await?;
            let accept = accept.zip(reason).map(|(name, reason)| Override { name, reason });
            desk.ask(Act::Release { accept }).await?;
            desk.delivered(&session).await?;
            let summary = report::session(desk, &session, false).await?;
            Ok(if summary.undelivered() == 0 { exit::OK } else { exit::HARDWARE })
        }
        What::Move { session, item } => {
            desk.ask(Act::Open { session: session.clone() }).await?;
            let accepted = desk.ask(Act::MoveItem { item: item.clone() }).await?;
            answer!("{} pictures belong to {item} now.", accepted.count);
            Ok(exit::OK)
        }
        What::Abort { session } => {
            desk.ask(Act::Open { session: session.clone() }).await?;
            let accepted = desk.ask(Act::Abort).await?;
            answer!("Ended. {} pictures stay on this station and are not delivered.", accepted.count);
            Ok(exit::OK)
        }
    }
}

/// The station compared frames and waits for a person.
async fn found_place(desk: &Desk) -> Result<bool> {
    Ok(desk.status().await?.faults.iter().any(|fault| fault.rule == "position-match"))
}

/// Asks the person at the terminal; without one the answer is no.
async fn agrees(desk: &Desk) -> Result<bool> {
    let what = desk.status().await?.sentence;
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    answer!("{what}. Was the item left where it was? y goes on, anything else leaves the session as it is.");
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    Ok(line.trim().eq_ignore_ascii_case("y"))
}

async fn list(desk: &Desk, json: bool) -> Result<u8> {
    for session in desk.sessions().await? {
        if json {
            answer!("{}", serde_json::to_string(&session)?);
        } else {
            answer!(
                "{}  {}  {:<12} {:<10} {:>3}/{:<3} {} flagged  {}",
                session.session,
                readable(session.started_wall_ms),
                format!("{:?}", session.state).to_lowercase(),
                session.recipe,
                session.frames,
                session.wanted,
                session.flagged,
                session.item,
            );
        }
    }
    Ok(exit::OK)
}
