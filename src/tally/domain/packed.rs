//! Numbers in few bytes: seven bits in each, as small ones are the usual. Pure.

/// The format in which facts, cells and their parts are packed. Whoever changes one of them counts on, and writes it into
/// `cell_marks` by a migration: every other version then says that it cannot read them.
pub const FORMAT: i32 = 1;

/// Bytes that were not written by this room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("packed numbers are broken")
    }
}

impl std::error::Error for Broken {}

/// Writes numbers behind each other.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// A byte.
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// A number from 0 on.
    pub fn natural(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n.to_le_bytes()[0] | 0x80);
            n >>= 7;
        }
        self.0.push(n.to_le_bytes()[0]);
    }

    /// Any number.
    pub fn whole(&mut self, n: i64) {
        self.natural(n.wrapping_shl(1).cast_unsigned() ^ (n >> 63).cast_unsigned());
    }

    /// Any number, however long.
    pub fn long(&mut self, n: i128) {
        match i64::try_from(n).ok().filter(|n| (i64::MIN / 4..i64::MAX / 4).contains(n)) {
            Some(n) => self.whole(n),
            None => {
                self.whole(i64::MAX);
                self.0.extend(n.to_le_bytes());
            }
        }
    }

    /// Bytes with their number.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.natural(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// A byte.
    ///
    /// # Errors
    /// When there is none.
    pub fn byte(&mut self) -> Result<u8, Broken> {
        let (first, rest) = self.0.split_first().ok_or(Broken)?;
        self.0 = rest;
        Ok(*first)
    }

    /// A number from 0 on.
    ///
    /// # Errors
    /// When there is none.
    #[inline]
    pub fn natural(&mut self) -> Result<u64, Broken> {
        // Most are short.
        if let [byte @ ..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok((*byte).into());
        }
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Broken)
    }

    /// A number of things.
    ///
    /// # Errors
    /// When there is none.
    pub fn count(&mut self) -> Result<usize, Broken> {
        usize::try_from(self.natural()?).map_err(|_| Broken)
    }

    /// Any number.
    ///
    /// # Errors
    /// When there is none.
    pub fn whole(&mut self) -> Result<i64, Broken> {
        let n = self.natural()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// Any number, however long.
    ///
    /// # Errors
    /// When there is none.
    pub fn long(&mut self) -> Result<i128, Broken> {
        match self.whole()? {
            i64::MAX => Ok(i128::from_le_bytes(self.array()?)),
            n => Ok(n.into()),
        }
    }

    /// Bytes with their number.
    ///
    /// # Errors
    /// When there are none.
    pub fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.count()?;
        self.take(length)
    }

    /// So many bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        self.take(N)?.try_into().map_err(|_| Broken)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(n in any::<i64>(), small in -300i64..300, long in any::<i128>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut writer = Writer::default();
            writer.whole(n);
            writer.whole(small);
            writer.natural(n.cast_unsigned());
            for n in [long, small.into(), n.into()] {
                writer.long(n);
            }
            writer.bytes(&bytes);
            let mut reader = Reader(&writer.0);
            prop_assert_eq!((reader.whole(), reader.whole(), reader.natural()), (Ok(n), Ok(small), Ok(n.cast_unsigned())));
            for n in [long, small.into(), n.into()] {
                prop_assert_eq!(reader.long(), Ok(n));
            }
            prop_assert_eq!(reader.bytes(), Ok(bytes.as_slice()));
            prop_assert_eq!(reader.byte(), Err(Broken));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader(&bytes);
            while reader.long().is_ok() && reader.bytes().is_ok() {}
        }
    }
}
