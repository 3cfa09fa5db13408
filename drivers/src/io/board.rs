//! Devices that several inputs or outputs of a station share: a pedal with three keys, a board with four relays.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::IoError;

/// A device with several inputs or outputs.
pub(crate) trait Board: Any + Send + Sync {
    /// It failed: whoever comes next opens it anew.
    fn is_lost(&self) -> bool;
}

type Open = Weak<dyn Any + Send + Sync>;

/// What is open now, by identity. Clones are the same list.
#[derive(Clone, Default)]
pub struct Boards(Arc<Mutex<BTreeMap<String, Open>>>);

impl fmt::Debug for Boards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boards")
    }
}

impl Boards {
    /// The board with this identity: the one that is open, unless it was lost, else what `open` opens.
    pub(crate) fn get<T: Board>(
        &self,
        identity: &str,
        open: impl FnOnce() -> Result<T, IoError>,
    ) -> Result<Arc<T>, IoError> {
        let mut boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there = boards.get(identity).and_then(Weak::upgrade).and_then(|board| board.downcast::<T>().ok());
        if let Some(board) = there.filter(|board| !board.is_lost()) {
            return Ok(board);
        }
        let board = Arc::new(open()?);
        let weak: Open = Arc::downgrade(&board) as Open;
        boards.retain(|_, board| board.strong_count() > 0);
        boards.insert(identity.to_owned(), weak);
        Ok(board)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Four {
        number: u32,
        lost: AtomicBool,
    }

    impl Board for Four {
        fn is_lost(&self) -> bool {
            self.lost.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn four_relays_share_one_board_and_a_lost_one_is_opened_anew() {
        let boards = Boards::default();
        let open =
            |number| boards.get("usb-1", || Ok(Four { number, lost: AtomicBool::new(false) })).unwrap();
        let first = open(1);
        assert_eq!(open(2).number, 1);
        first.lost.store(true, Ordering::Relaxed);
        assert_eq!(open(3).number, 3, "the lost one is still held, and not handed out any more");
        drop(first);
        assert_eq!(open(4).number, 4, "nobody held the third");
    }
}
