//! Modbus frames: requests that switch a drive or read its inputs, and their answers. Nothing here waits or sends.
//!
//! Source: the Modbus application protocol V1.1b3 and "Modbus over serial line" V1.02, whose examples are the tests.

/// What is asked of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Function 5.
    WriteCoil { address: u16, on: bool },
    /// Function 6.
    WriteRegister { address: u16, value: u16 },
    /// Function 3, one register.
    ReadRegister { address: u16 },
    /// Function 2, one input.
    ReadInput { address: u16 },
}

/// How frames are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Serial line: unit first, checksum last.
    Rtu,
    /// Network: a header with a transaction number.
    Tcp,
}

/// What became of an answer's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not all of it is here yet.
    Partial,
    /// The value that was read; of a write, what was written.
    Value(u16),
    /// The device refuses, with its exception code.
    Refused(u8),
    /// Not an answer to this request: noise, or a late answer to another.
    Foreign,
}

impl Request {
    /// Function code and data.
    pub(super) fn pdu(self) -> Vec<u8> {
        let (function, address, value) = match self {
            Self::WriteCoil { address, on } => (5, address, if on { 0xff00 } else { 0 }),
            Self::WriteRegister { address, value } => (6, address, value),
            Self::ReadRegister { address } => (3, address, 1),
            Self::ReadInput { address } => (2, address, 1),
        };
        let ([a, b], [c, d]) = (address.to_be_bytes(), value.to_be_bytes());
        vec![function, a, b, c, d]
    }

    /// Bytes of the answer's function code and data.
    fn answer_length(self) -> usize {
        match self {
            Self::WriteCoil { .. } | Self::WriteRegister { .. } => 5,
            Self::ReadRegister { .. } => 4,
            Self::ReadInput { .. } => 3,
        }
    }

    fn read(self, pdu: &[u8]) -> Answer {
        match (self, pdu) {
            (_, [function, code]) if *function == self.pdu()[0] | 0x80 => Answer::Refused(*code),
            (Self::WriteCoil { .. } | Self::WriteRegister { .. }, echo) if echo == self.pdu() => {
                Answer::Value(u16::from_be_bytes([echo[3], echo[4]]))
            }
            (Self::ReadRegister { .. }, [3, 2, high, low]) => {
                Answer::Value(u16::from_be_bytes([*high, *low]))
            }
            (Self::ReadInput { .. }, [2, 1, bits]) => Answer::Value(u16::from(bits & 1)),
            _ => Answer::Foreign,
        }
    }

    /// The request as it goes over the wire.
    pub(super) fn frame(self, framing: Framing, unit: u8, transaction: u16) -> Vec<u8> {
        let pdu = self.pdu();
        match framing {
            Framing::Rtu => {
                let mut frame = [&[unit], pdu.as_slice()].concat();
                frame.extend(crc(&frame).to_le_bytes());
                frame
            }
            Framing::Tcp => {
                let [a, b] = transaction.to_be_bytes();
                let header = [a, b, 0, 0, 0, pdu.len() as u8 + 1, unit];
                [&header, pdu.as_slice()].concat()
            }
        }
    }

    /// Reads what has arrived since the request was sent.
    pub(super) fn answer(self, framing: Framing, unit: u8, transaction: u16, bytes: &[u8]) -> Answer {
        match framing {
            Framing::Rtu => self.answer_rtu(unit, bytes),
            Framing::Tcp => self.answer_tcp(unit, transaction, bytes),
        }
    }

    fn answer_rtu(self, unit: u8, bytes: &[u8]) -> Answer {
        let [_, function, ..] = bytes else { return Answer::Partial };
        let length = if function & 0x80 != 0 { 2 } else { self.answer_length() };
        let Some(frame) = bytes.get(..length + 3) else { return Answer::Partial };
        let (body, sum) = frame.split_at(length + 1);
        if bytes.len() > frame.len() || body[0] != unit || crc(body).to_le_bytes() != sum {
            return Answer::Foreign;
        }
        self.read(&body[1..])
    }

    fn answer_tcp(self, unit: u8, transaction: u16, bytes: &[u8]) -> Answer {
        let [a, b, protocol @ .., _, _, _] = bytes.get(..7).unwrap_or(&[]) else { return Answer::Partial };
        let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        // A unit and a function at least; the protocol's longest is 254.
        if protocol[..2] != [0, 0] || !(2..=254).contains(&length) {
            return Answer::Foreign;
        }
        let Some(frame) = bytes.get(..6 + length) else { return Answer::Partial };
        if u16::from_be_bytes([*a, *b]) != transaction {
            // The answer to a question that was given up: what was asked now comes behind it.
            return match bytes.len() > frame.len() {
                true => self.answer_tcp(unit, transaction, &bytes[frame.len()..]),
                false => Answer::Partial,
            };
        }
        match bytes.len() == frame.len() && frame[6] == unit {
            true => self.read(&frame[7..]),
            false => Answer::Foreign,
        }
    }
}

/// CRC-16 of a serial line.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| match crc & 1 {
            1 => crc >> 1 ^ 0xa001,
            _ => crc >> 1,
        })
    })
}

/// What an exception code says.
pub(super) fn exception(code: u8) -> String {
    let what = match code {
        1 => "it does not know this function",
        2 => "it has no such address",
        3 => "it does not take this value",
        4 => "it failed while it tried",
        5 | 6 => "it is busy",
        _ => "an exception that is in no table of ours",
    };
    format!("Modbus exception {code}: {what}; check the addresses against the drive's manual")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ON: Request = Request::WriteCoil { address: 0x00ac, on: true };

    #[test]
    fn the_checksum_is_the_specifications() {
        // "Modbus over serial line", 6.2.2: 02 07 has the CRC 1241.
        assert_eq!(crc(&[0x02, 0x07]), 0x1241);
        assert_eq!(crc(b"123456789"), 0x4b37);
    }

    #[test]
    fn requests_are_the_specifications_examples() {
        // Application protocol V1.1b3: 6.5, 6.6, 6.3 and 6.2.
        assert_eq!(ON.pdu(), [0x05, 0x00, 0xac, 0xff, 0x00]);
        assert_eq!(Request::WriteRegister { address: 1, value: 3 }.pdu(), [0x06, 0x00, 0x01, 0x00, 0x03]);
        assert_eq!(Request::ReadRegister { address: 0x006b }.pdu(), [0x03, 0x00, 0x6b, 0x00, 0x01]);
        assert_eq!(Request::ReadInput { address: 0x00c4 }.pdu(), [0x02, 0x00, 0xc4, 0x00, 0x01]);
        assert_eq!(
            ON.frame(Framing::Tcp, 0xff, 0x1501),
            [0x15, 0x01, 0, 0, 0, 6, 0xff, 0x05, 0x00, 0xac, 0xff, 0x00]
        );
        let frame = ON.frame(Framing::Rtu, 1, 0);
        assert_eq!((frame[0], crc(&frame)), (1, 0), "a frame with its checksum has the checksum 0");
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        for framing in [Framing::Rtu, Framing::Tcp] {
            let frame = ON.frame(framing, 7, 9);
            assert_eq!(ON.answer(framing, 7, 9, &frame), Answer::Value(0xff00), "a write is echoed");
            for cut in 0..frame.len() {
                assert_eq!(ON.answer(framing, 7, 9, &frame[..cut]), Answer::Partial, "{framing:?} {cut}");
            }
            assert_eq!(ON.answer(framing, 8, 9, &frame), Answer::Foreign, "another unit");
            let off = Request::WriteCoil { address: 0x00ac, on: false };
            assert_eq!(off.answer(framing, 7, 9, &frame), Answer::Foreign, "another value");
        }
        let mut refused = vec![7, 0x85, 2];
        refused.extend(crc(&refused).to_le_bytes());
        assert_eq!(ON.answer(Framing::Rtu, 7, 0, &refused), Answer::Refused(2));
        let mut flipped = ON.frame(Framing::Rtu, 7, 0);
        flipped[3] ^= 1;
        assert_eq!(ON.answer(Framing::Rtu, 7, 0, &flipped), Answer::Foreign);
        let late = [ON.frame(Framing::Tcp, 7, 8), ON.frame(Framing::Tcp, 7, 9)].concat();
        assert_eq!(
            ON.answer(Framing::Tcp, 7, 9, &late),
            Answer::Value(0xff00),
            "a late answer is passed over"
        );
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), address: u16, kind in 0..4u8,
        ) {
            let request = match kind {
                0 => Request::WriteCoil { address, on: true },
                1 => Request::WriteRegister { address, value: 7 },
                2 => Request::ReadRegister { address },
                _ => Request::ReadInput { address },
            };
            for framing in [Framing::Rtu, Framing::Tcp] {
                request.answer(framing, 1, 2, &bytes);
            }
        }

        #[test]
        fn a_frame_with_one_wrong_bit_is_never_taken_for_an_answer(bit in 0usize..64) {
            let mut frame = ON.frame(Framing::Rtu, 3, 0);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(ON.answer(Framing::Rtu, 3, 0, &frame), Answer::Value(_)));
        }
    }
}
