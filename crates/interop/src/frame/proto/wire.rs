//! The wire: fields with their numbers, without knowing what they mean (<https://protobuf.dev/programming-guides/encoding/>).

/// A field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message with their numbers. After an error there is nothing more. Groups, which proto3 does not have, are passed over.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

#[derive(Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

enum Mark<'a> {
    Field(u32, Field<'a>),
    GroupBegins,
    GroupEnds,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut groups = 0_usize;
        while !self.rest.is_empty() {
            let mark = self.mark();
            let found = match mark {
                Ok(Mark::Field(number, field)) if groups == 0 => Ok((number, field)),
                Ok(Mark::Field(..)) => continue,
                Ok(Mark::GroupBegins) => {
                    groups += 1;
                    continue;
                }
                Ok(Mark::GroupEnds) if groups > 0 => {
                    groups -= 1;
                    continue;
                }
                Ok(Mark::GroupEnds) => Err("a group ends that has not begun".to_owned()),
                Err(problem) => Err(problem),
            };
            if found.is_err() {
                self.rest = &[];
            }
            return Some(found);
        }
        (groups > 0).then(|| Err("a group does not end".to_owned()))
    }
}

impl<'a> Fields<'a> {
    fn mark(&mut self) -> Result<Mark<'a>, String> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| "a field has a number that is too large")?;
        if number == 0 {
            return Err("a field has the number 0".to_owned());
        }
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.take(8)?.try_into().map_err(|_| ended())?),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(usize::try_from(length).map_err(|_| ended())?)?)
            }
            3 => return Ok(Mark::GroupBegins),
            4 => return Ok(Mark::GroupEnds),
            5 => {
                self.take(4)?;
                Field::Fixed32
            }
            _ => return Err("a field has no known wire type".to_owned()),
        };
        Ok(Mark::Field(number, field))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(ended)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for place in 0..10 {
            let (byte, rest) = self.rest.split_first().ok_or_else(ended)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(place * 7).unwrap_or_default();
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is longer than 64 bits".to_owned())
    }
}

fn ended() -> String {
    "the message ends in the middle of a field".to_owned()
}

/// Writes a field of a number.
pub(super) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, u64::from(number) << 3);
    varint(out, value);
}

/// Writes a field of eight bytes.
pub(super) fn put_fixed64(out: &mut Vec<u8>, number: u32, value: [u8; 8]) {
    varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value);
}

/// Writes a field of bytes: a text, or a message.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, u64::try_from(value.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}
