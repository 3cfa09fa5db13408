//! Whoever stands beside a bench whose table a person turns: told on the terminal what to do, and asked to say when it is
//! done.

use tokio::sync::mpsc;
use turnstage_drivers::turntable::Hand;

/// Passes each question on by `say`, and answers it when its number is typed: an Enter too many must not count as the
/// answer to what is asked next. Ends with the lines.
pub async fn attend(hand: Hand, mut lines: mpsc::Receiver<String>, mut say: impl FnMut(String)) {
    let mut asked = hand.watch();
    loop {
        let open = asked.wait_for(|asked| asked.is_some_and(|asked| !asked.answered)).await;
        // Copied out: an answer waits for whoever still looks.
        let Some(question) = open.ok().and_then(|asked| *asked) else { return };
        let number = question.number;
        say(format!(
            "Turn the platter to {}; when it stands there, type {number} and Enter.",
            question.angle
        ));
        loop {
            let other = asked.wait_for(|now| now.is_none_or(|now| now.number != number || now.answered));
            let typed = tokio::select! {
                biased;
                withdrawn = other => {
                    drop(withdrawn);
                    say(format!("Question {number} is withdrawn: leave the platter as it is."));
                    break;
                }
                typed = lines.recv() => typed,
            };
            match typed {
                None => return,
                Some(line) if line.trim() == number.to_string() => {
                    hand.answer(number);
                    break;
                }
                Some(_) => say(format!("Type {number} when the platter stands at {}.", question.angle)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use turnstage_drivers::Angle;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_number_of_what_is_asked_now_answers_it() {
        let (hand, (typed, lines), (say, mut said)) =
            (Hand::default(), mpsc::channel(4), mpsc::channel::<String>(16));
        let attending = attend(hand.clone(), lines, |words| say.try_send(words).unwrap());
        let story = async {
            let mut asked = hand.watch();
            let first = hand.ask(Angle::new(30.0));
            let told = said.recv().await.unwrap();
            assert!(told.contains("30.0°") && told.contains(&format!("type {first} ")), "{told}");
            hand.withdraw();
            assert!(said.recv().await.unwrap().contains("is withdrawn"));
            let second = hand.ask(Angle::new(90.0));
            assert!(said.recv().await.unwrap().contains("90.0°"));
            for late in [String::new(), first.to_string()] {
                typed.send(late).await.unwrap();
                assert!(said.recv().await.unwrap().starts_with(&format!("Type {second} when")));
                assert!(hand.watch().borrow().is_some_and(|asked| !asked.answered), "not answered by that");
            }
            typed.send(format!(" {second}\r")).await.unwrap();
            asked.wait_for(|asked| asked.is_some_and(|asked| asked.answered)).await.unwrap();
        };
        tokio::select! {
            () = story => {}
            () = attending => panic!("the attendant went away"),
        }
    }
}
