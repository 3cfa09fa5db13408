//! A TIFF block that only grows at its end: nothing that stands in it moves.
//!
//! A maker's note holds offsets that only its maker knows, so a block that was taken apart and written anew is a
//! damaged one. Here a directory that gets more entries is copied behind everything else and pointed to from there;
//! values, notes and thumbnails stay where they are (TIFF 6.0, section 2: a directory may lie anywhere).

use std::collections::BTreeSet;

/// Bytes of one entry of a directory.
const ENTRY: usize = 12;

/// A tag with its value, to be added.
pub(super) struct Field(pub u16, pub Value);

/// Values that are written here.
pub(super) enum Value {
    Ascii(String),
    Short(u16),
    Long(u32),
    /// Over, under.
    Rational(u32, u32),
    Undefined([u8; 4]),
}

/// An entry as it stands in the file, in the block's own byte order.
#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    /// The value, or where it lies.
    value: [u8; 4],
}

/// One directory of a block.
#[derive(Clone, Default)]
pub(super) struct Directory {
    entries: Vec<Entry>,
    /// Where the next one lies; 0 = none.
    next: u32,
}

/// See the module.
pub(super) struct Tiff {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Default for Tiff {
    /// Little-endian, without a directory.
    fn default() -> Self {
        Self { bytes: b"II*\0\0\0\0\0".to_vec(), big_endian: false }
    }
}

impl Tiff {
    /// A block as found; `None` if it does not begin like one.
    pub fn read(block: &[u8]) -> Option<Self> {
        let big_endian = match block.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let tiff = Self { bytes: block.to_vec(), big_endian };
        tiff.long_at(4)?;
        Some(tiff)
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The first directory, empty in a new block; `None` where it cannot be read as a whole.
    pub fn first(&self) -> Option<Directory> {
        match self.long_at(4)? {
            0 => Some(Directory::default()),
            at => self.directory(at),
        }
    }

    /// The directory that the entry `tag` points to. The outer `None`: it is damaged; the inner: there is no entry.
    pub fn below(&self, directory: &Directory, tag: u16) -> Option<Option<Directory>> {
        match directory.find(tag) {
            None => Some(None),
            Some(entry) => self.directory(self.long(entry.value)).map(Some),
        }
    }

    fn directory(&self, at: u32) -> Option<Directory> {
        let at = usize::try_from(at).ok()?;
        let count = usize::from(self.short([*self.bytes.get(at)?, *self.bytes.get(at + 1)?]));
        let rows = self.bytes.get(at + 2..at + 2 + count * ENTRY)?;
        let entry = |row: &[u8]| Entry {
            tag: self.short([row[0], row[1]]),
            kind: self.short([row[2], row[3]]),
            count: self.long([row[4], row[5], row[6], row[7]]),
            value: [row[8], row[9], row[10], row[11]],
        };
        let entries: Vec<_> = rows.chunks_exact(ENTRY).map(entry).collect();
        // Some cameras leave out the last pointer of a directory at the very end.
        let next = self.long_at(at + 2 + count * ENTRY).unwrap_or(0);
        let tags: BTreeSet<_> = entries.iter().map(|entry| entry.tag).collect();
        (tags.len() == entries.len()).then_some(Directory { entries, next })
    }

    /// Adds the fields that `directory` lacks; whether there were any.
    pub fn extend(&mut self, directory: &mut Directory, fields: Vec<Field>) -> bool {
        let before = directory.entries.len();
        for Field(tag, value) in fields {
            if directory.find(tag).is_none() {
                let entry = self.entry(tag, value);
                directory.entries.push(entry);
            }
        }
        directory.entries.len() > before
    }

    /// Points the entry `tag` of `directory` to `to`.
    pub fn point(&self, directory: &mut Directory, tag: u16, to: u32) {
        let entry = Entry { tag, kind: 4, count: 1, value: self.long_bytes(to) };
        directory.entries.retain(|entry| entry.tag != tag);
        directory.entries.push(entry);
    }

    /// Appends a directory, in the order of its tags; where it lies.
    pub fn append(&mut self, directory: &Directory) -> u32 {
        let mut entries = directory.entries.clone();
        entries.sort_by_key(|entry| entry.tag);
        let at = self.end();
        self.bytes.extend(self.short_bytes(u16::try_from(entries.len()).unwrap_or(u16::MAX)));
        for entry in entries {
            self.bytes.extend(self.short_bytes(entry.tag));
            self.bytes.extend(self.short_bytes(entry.kind));
            self.bytes.extend(self.long_bytes(entry.count));
            self.bytes.extend(entry.value);
        }
        self.bytes.extend(self.long_bytes(directory.next));
        at
    }

    /// Makes the directory at `at` the first one.
    pub fn begin_with(&mut self, at: u32) {
        self.set_long(4, at);
    }

    /// The values of the entry `tag` when they lie outside it: place and length in bytes, within the block.
    pub fn outside(&self, directory: &Directory, tag: u16) -> Option<(usize, usize)> {
        let entry = directory.find(tag)?;
        let (at, length) =
            (usize::try_from(self.long(entry.value)).ok()?, usize::try_from(entry.count).ok()?);
        (entry.kind == 7 && at.checked_add(length)? <= self.bytes.len()).then_some((at, length))
    }

    /// A value of four bytes that stands in its entry.
    pub fn inside(&self, directory: &Directory, tag: u16) -> Option<[u8; 4]> {
        directory.find(tag).filter(|entry| entry.kind == 7 && entry.count == 4).map(|entry| entry.value)
    }

    pub fn long_at(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        Some(self.long([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Does nothing beyond the end.
    pub fn set_long(&mut self, at: usize, value: u32) {
        let value = self.long_bytes(value);
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&value);
        }
    }

    fn entry(&mut self, tag: u16, value: Value) -> Entry {
        let (kind, count, bytes) = match value {
            Value::Ascii(text) => {
                let bytes = [text.as_bytes(), &[0]].concat();
                (2, bytes.len(), bytes)
            }
            Value::Short(value) => (3, 1, self.short_bytes(value).to_vec()),
            Value::Long(value) => (4, 1, self.long_bytes(value).to_vec()),
            Value::Rational(over, under) => (5, 1, [self.long_bytes(over), self.long_bytes(under)].concat()),
            Value::Undefined(bytes) => (7, 4, bytes.to_vec()),
        };
        let mut value = [0; 4];
        if bytes.len() <= 4 {
            value[..bytes.len()].copy_from_slice(&bytes);
        } else {
            let at = self.end();
            self.bytes.extend(bytes);
            value = self.long_bytes(at);
        }
        Entry { tag, kind, count: u32::try_from(count).unwrap_or(u32::MAX), value }
    }

    /// Where the next thing is put: values and directories begin at even places.
    fn end(&mut self) -> u32 {
        if self.bytes.len() % 2 == 1 {
            self.bytes.push(0);
        }
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn short(&self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn long(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn short_bytes(&self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn long_bytes(&self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

impl Directory {
    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// Whether it has the tag.
    pub fn has(&self, tag: u16) -> bool {
        self.find(tag).is_some()
    }
}
