//! The few commands that are obeyed while a session runs: pause, stop, disarm, and what a person at the rig says.

use tokio::sync::{mpsc, watch};
use turnstage_cloud_sync::Spool;
use turnstage_drivers::turntable::{Asked, Hand};

use super::{Answers, presence, write};
use crate::audit;
use crate::command::{Accepted, Act, Actor, Answer, Command, Refusal};
use crate::io::Controls;
use crate::motion::{Motion, Mover};
use crate::status::{Fault, Situation, Status, TableStatus};

/// What a command may touch while a session runs.
pub(super) struct Underway<'a> {
    pub spool: &'a Spool,
    pub pause: &'a watch::Sender<bool>,
    pub session: &'a str,
    pub hand: &'a Hand,
    pub mover: &'a Mover,
}

/// Whether a command came too late: its sender was told to repeat it. On record, and not remembered, so that the
/// repetition is obeyed.
pub(super) async fn given_up(spool: &Spool, session: Option<&str>, command: &Command) -> bool {
    let Command { id, actor, act, .. } = command;
    if !command.is_given_up() {
        return false;
    }
    let reason = "Whoever asked for this has not waited for the answer. Nothing was done; repeat it.";
    let entry = audit::refused(id, actor, act, session, &Refusal::new("sender-gone", reason));
    if let Err(error) = write(spool, vec![entry]).await {
        tracing::error!(%error, "a refusal is not in the audit log");
    }
    tracing::warn!(command = id, actor = actor.0, name = act.name(), "command given up");
    true
}

/// Answers one command while a session runs.
pub(super) async fn while_running(run: &Underway<'_>, answers: &mut Answers, command: Command) {
    let Underway { spool, pause, session, hand, mover } = *run;
    if given_up(spool, Some(session), &command).await {
        return;
    }
    let Command { id, actor, place, act, answer } = command;
    if let Some(known) = answers.known(&id) {
        drop(answer.send(known));
        return;
    }
    let given: Answer = match &act {
        Act::Pause => {
            pause.send_replace(true);
            Ok(())
        }
        Act::Arm { .. } | Act::Disarm | Act::Answer { .. } => presence::obey(mover, hand, &place, &act),
        Act::Stop => Ok(()),
        _ => Err(Refusal::new("session-running", "A session is being shot. Pause or stop it first.")),
    }
    .map(|()| Accepted { session: Some(session.to_owned()), count: 0 });
    let entry = match &given {
        Ok(_) => audit::accepted(&id, &actor, &act, Some(session)),
        Err(refusal) => audit::refused(&id, &actor, &act, Some(session), refusal),
    };
    if let Err(error) = write(spool, vec![entry]).await {
        tracing::error!(%error, "a command is not in the audit log");
    }
    answers.remember(id, &actor, &act, &given);
    drop(answer.send(given));
}

/// Who asked for the stop that ended a run: the table halts before the station has heard of it.
pub(super) async fn who_stopped(
    run: &Underway<'_>,
    answers: &mut Answers,
    commands: &mut mpsc::Receiver<Command>,
) -> Option<Actor> {
    let mut stopper = None;
    while let Ok(command) = commands.try_recv() {
        if matches!(command.act, Act::Stop | Act::Disarm) {
            stopper.get_or_insert_with(|| command.actor.clone());
        }
        while_running(run, answers, command).await;
    }
    stopper
}

/// The table moved, or is about to. An announcement covers what went on before, which shows again after it.
pub(super) fn show_motion(status: &watch::Sender<Status>, motion: &Motion, covered: &mut Option<Situation>) {
    status.send_modify(|status| {
        status.table = TableStatus::of(motion);
        let announced = status.situation == Situation::Announced;
        match (motion.announced, announced) {
            (true, false) => {
                *covered = Some(status.situation.clone());
                status.tell(Situation::Announced);
            }
            (false, true) => status.tell(covered.take().unwrap_or(Situation::Ready)),
            _ => {}
        }
    });
}

/// A table that was told to stop and may turn on, unless a session has told the same.
pub(super) fn unstopped(motion: &Motion, faults: &[Fault]) -> Option<Fault> {
    let (rule, what) = motion.unstopped.clone()?;
    if faults.iter().any(|fault| fault.rule == rule) {
        return None;
    }
    let why = "A stop that does not arrive stops nothing. The table may still turn.";
    let todo = "Keep clear of it, and stop it by its own switch or its plug. Then continue.";
    Some(Fault::new(rule, what, why, todo))
}

/// A person is asked to turn a manual table.
pub(super) fn show_asked(status: &watch::Sender<Status>, asked: Option<Asked>) {
    if let Some(asked) = asked.filter(|asked| !asked.answered) {
        status.send_modify(|status| status.tell(Situation::TurnByHand { deg: asked.angle.deg() }));
    }
}

/// An input or output changed.
pub(super) fn show_controls(status: &watch::Sender<Status>, controls: &Controls) {
    status.send_modify(|status| status.take_controls(controls));
}
