//! What a table says of a message.

/// How deep messages may lie within one another.
pub(super) const DEPTH_LIMIT: usize = 64;
/// The largest JSON that a message may become, in bytes. A message without any field has two bytes, and its JSON has all that must be there.
pub(super) const JSON_LIMIT_BYTES: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };

/// A message.
pub(crate) struct Message {
    /// In the order in which they are written.
    pub(crate) fields: &'static [Field],
}

/// A field of a message.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(super) number: u32,
    /// As it is written in JSON.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) rule: Rule,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Bytes,
    Bool,
    Int32,
    /// The names of the values 0, 1, 2 and so on.
    Enum(&'static [&'static str]),
    One(&'static Message),
    /// `google.protobuf.Struct`
    Struct,
    /// `google.protobuf.Value`
    Value,
    /// `google.protobuf.Timestamp`
    Timestamp,
}

/// How often a field stands in a message, and when it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Once, and not when it has its default.
    Plain,
    /// Once, and in JSON always.
    Always,
    /// Once, or not at all.
    Optional,
    /// Once, and no other such field of the message. (No message that we know has two such sets.)
    OneOf,
    /// Any number of times.
    Many,
    /// The same, and in JSON always.
    ManyAlways,
    /// By text.
    Map,
}

impl Field {
    pub(crate) const fn new(number: u32, name: &'static str, kind: Kind) -> Self {
        Self { number, name, kind, rule: Rule::Plain }
    }

    pub(crate) const fn always(self) -> Self {
        let rule = match self.rule {
            Rule::Many | Rule::ManyAlways => Rule::ManyAlways,
            Rule::Plain | Rule::Always | Rule::Optional | Rule::OneOf | Rule::Map => Rule::Always,
        };
        Self { rule, ..self }
    }

    pub(crate) const fn optional(self) -> Self {
        Self { rule: Rule::Optional, ..self }
    }

    pub(crate) const fn one_of(self) -> Self {
        Self { rule: Rule::OneOf, ..self }
    }

    pub(crate) const fn many(self) -> Self {
        Self { rule: Rule::Many, ..self }
    }

    pub(crate) const fn map(self) -> Self {
        Self { rule: Rule::Map, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::put_bytes;
    use super::super::{from_json, to_json};
    use super::*;

    static INNER: Message = Message { fields: &[Field::new(1, "id", Kind::Text).always()] };
    static OUTER: Message = Message {
        fields: &[
            Field::new(1, "text", Kind::Text),
            Field::new(2, "pageSize", Kind::Int32).optional(),
            Field::new(3, "isGood", Kind::Bool),
            Field::new(4, "state", Kind::Enum(&["NONE", "SOME"])).always(),
            Field::new(5, "raw", Kind::Bytes).one_of(),
            Field::new(6, "data", Kind::Value).one_of(),
            Field::new(7, "inner", Kind::One(&INNER)),
            Field::new(8, "many", Kind::One(&INNER)).many(),
            Field::new(9, "scopes", Kind::Text).map(),
            Field::new(10, "metadata", Kind::Struct),
            Field::new(11, "timestamp", Kind::Timestamp),
            Field::new(12, "names", Kind::Text).many().always(),
            Field::new(13, "outer", Kind::One(&OUTER)),
            Field::new(14, "schemes", Kind::One(&INNER)).map(),
        ],
    };

    fn json(bytes: &[u8]) -> Result<String, String> {
        to_json(&OUTER, bytes)
    }

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        for raw in [
            r#"{"state":"NONE","names":[]}"#,
            r#"{"text":"ä\"\n","pageSize":0,"isGood":true,"state":"SOME","names":["a",""]}"#,
            r#"{"pageSize":-5,"state":"NONE","raw":"","inner":{"id":""},"many":[{"id":"a"},{"id":""}],"names":[]}"#,
            r#"{"state":"NONE","data":null,"scopes":{"":"x","a":""},"names":[],"schemes":{"k":{"id":"v"}}}"#,
            r#"{"state":"NONE","data":[1,-2.5,1e300,"x",true,null,{},[]],"metadata":{"a":{"b":[{}]},"c":9007199254740991},"names":[]}"#,
            r#"{"state":"NONE","raw":"AP8=","timestamp":"2026-11-22T19:41:01.000000500Z","names":[]}"#,
            r#"{"state":7,"timestamp":"0001-01-01T00:00:00Z","names":[]}"#,
        ] {
            let bytes = from_json(&OUTER, raw).unwrap();
            assert_eq!(json(&bytes).as_deref(), Ok(raw));
        }
    }

    #[test]
    fn what_others_write_otherwise_is_understood() {
        let default = r#"{"state":"NONE","names":[]}"#;
        for (written, expected) in [
            (r#"{"unknown":{"a":[1]},"text":null,"inner":null}"#, default),
            (r#"{"page_size":"7"}"#, r#"{"pageSize":7,"state":"NONE","names":[]}"#),
            (r#"{"pageSize":7.0,"is_good":false}"#, r#"{"pageSize":7,"state":"NONE","names":[]}"#),
            (r#"{"state":1}"#, r#"{"state":"SOME","names":[]}"#),
            (r#"{"raw":"_-8"}"#, r#"{"state":"NONE","raw":"/+8=","names":[]}"#),
            (
                r#"{"timestamp":"2026-11-22t21:41:01.5+02:00"}"#,
                r#"{"state":"NONE","timestamp":"2026-11-22T19:41:01.500Z","names":[]}"#,
            ),
            (
                r#"{"timestamp":"2026-11-22T19:41:01"}"#,
                r#"{"state":"NONE","timestamp":"2026-11-22T19:41:01Z","names":[]}"#,
            ),
        ] {
            assert_eq!(json(&from_json(&OUTER, written).unwrap()).as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_can_not_be_said_is_refused() {
        let deep = format!("{}{}", r#"{"outer":"#.repeat(70), "{}".to_owned() + &"}".repeat(70));
        for (written, problem) in [
            ("[]", "invalid type: sequence, expected an object at line 1 column 0"),
            (r#"{"text":1}"#, "`text` is not a text"),
            (r#"{"pageSize":2147483648}"#, "`pageSize` is not a whole number of 32 bits"),
            (r#"{"pageSize":1.5}"#, "`pageSize` is not a whole number of 32 bits"),
            (r#"{"isGood":"true"}"#, "`isGood` is neither true nor false"),
            (r#"{"state":"OTHER"}"#, "`state` can't be `OTHER`"),
            (r#"{"raw":"%"}"#, "`raw` is not Base64"),
            (r#"{"raw":"","data":1}"#, "`raw` and `data` exclude one another"),
            (r#"{"many":{}}"#, "`many` is not an array"),
            (r#"{"many":[null]}"#, "`many` is not an object"),
            (r#"{"metadata":[]}"#, "`metadata` is not an object"),
            (r#"{"data":1e999}"#, "`data` is a number that can't be kept"),
            (r#"{"timestamp":"yesterday"}"#, "`timestamp` is not a time of RFC 3339"),
            (r#"{"timestamp":"2026-02-29T00:00:00Z"}"#, "`timestamp` is not a time of RFC 3339"),
            (&deep, "it is nested deeper than 64 levels"),
        ] {
            assert_eq!(from_json(&OUTER, written).unwrap_err(), problem, "{written}");
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_refused_and_unknown_fields_passed_over() {
        let default = r#"{"state":"NONE","names":[]}"#;
        for (bytes, expected) in [
            (&b""[..], Ok(default)),
            // Unknown: a varint, eight bytes, a text, a group with a field in it, four bytes.
            (b"\x98\x06\x01\x99\x06\0\0\0\0\0\0\0\0\x9a\x06\x01x\x9b\x06\x08\x01\x9c\x06\x9d\x06\0\0\0\0", Ok(default)),
            // A known number with another wire type is unknown too.
            (b"\x08\x01", Ok(default)),
            // The last one of a single field counts, and of several parts of a message all do.
            (b"\x0a\x01a\x0a\x01b", Ok(r#"{"text":"b","state":"NONE","names":[]}"#)),
            (b"\x3a\x03\x0a\x01a\x3a\0", Ok(r#"{"state":"NONE","inner":{"id":"a"},"names":[]}"#)),
            (b"\x2a\0\x32\x02\x20\x01", Ok(r#"{"state":"NONE","data":true,"names":[]}"#)),
            (b"\x32\0", Ok(r#"{"state":"NONE","data":null,"names":[]}"#)),
            (b"\x4a\x02\x0a\0\x4a\x02\x12\0", Ok(r#"{"state":"NONE","scopes":{"":""},"names":[]}"#)),
            (b"\x0a", Err("the message ends in the middle of a field")),
            (b"\x0a\x05x", Err("the message ends in the middle of a field")),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Err("the message ends in the middle of a field")),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Err("a number is longer than 64 bits")),
            (b"\x02\x01", Err("a field has the number 0")),
            (b"\x0f", Err("a field has no known wire type")),
            (b"\x9c\x06", Err("a group ends that has not begun")),
            (b"\x9b\x06", Err("a group does not end")),
            (b"\x0a\x01\xff", Err("`text` is not UTF-8")),
            (b"\x32\x09\x11\0\0\0\0\0\0\xf0\x7f", Err("`data` is a number that JSON does not have")),
            (
                b"\x5a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                Ok(r#"{"state":"NONE","timestamp":"1969-12-31T23:59:59Z","names":[]}"#),
            ),
            (b"\x5a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Err("`timestamp` is no time that can be written")),
        ] {
            assert_eq!(json(bytes).as_deref(), expected.map_err(str::to_owned).as_deref(), "{bytes:x?}");
        }
        let mut deep = Vec::new();
        for _ in 0..70 {
            let mut outer = Vec::new();
            put_bytes(&mut outer, 13, &deep);
            deep = outer;
        }
        assert_eq!(json(&deep).unwrap_err(), "it is nested deeper than 64 levels");
        let wide: Vec<u8> = b"\x42\0".repeat(1 << 17);
        assert_eq!(json(&wide).unwrap_err(), "its JSON would be larger than 1048576 bytes");
    }
}
