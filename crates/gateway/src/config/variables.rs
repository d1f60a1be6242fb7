//! `${NAME}` in values, with and without quotes.
//!
//! The reader knows two ways: one leaves quoted values alone, so that `"${KEY}"` would be sent as it stands, the other takes a
//! variable that is not set for nothing. Neither fails closed. So the second is used, on a text in which every `${NAME}` says that
//! the variable is required.

/// The text that the reader is given, and what stands in it that does not stand in the file.
pub(super) struct Written {
    /// The text.
    pub(super) text: String,
    /// Where letters were added, in bytes of the text. Every one of them is one byte, and none is the end of a line.
    added: Vec<usize>,
}

impl Written {
    /// Every plain `${NAME}` as `${NAME?}`, which is an error where the variable is not set; `$` elsewhere stands for itself. Forms with an operator, as
    /// `${NAME:-value}`, and the escape `$${` stay.
    pub(super) fn required(text: &str) -> Self {
        Self::of(text, |_| true)
    }

    /// The same, but where a variable that has no default is not set, `${NAME}` stands for itself.
    pub(super) fn lenient(text: &str, is_set: impl Fn(&str) -> bool) -> Self {
        Self::of(text, is_set)
    }

    fn of(text: &str, is_taken: impl Fn(&str) -> bool) -> Self {
        let mut written = Self { text: String::with_capacity(text.len() + 64), added: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            written.text.push_str(before);
            rest = after;
            if let Some(inside) = rest.strip_prefix('{') {
                let name = inside.len() - inside.trim_start_matches(is_of_name).len();
                let (name, after) = inside.split_at(name);
                let has_default = !["}", "?", ":?"].iter().any(|end| after.starts_with(end));
                if !has_default && !is_taken(name) {
                    written.add('$');
                }
                written.text.push_str("${");
                written.text.push_str(name);
                if after.starts_with('}') && is_taken(name) {
                    written.add('?');
                }
                rest = after;
            } else if rest.starts_with("${") {
                // `$${NAME}` is the text `${NAME}`.
                written.text.push_str("$${");
                rest = rest.get(2..).unwrap_or_default();
            } else {
                written.text.push('$');
                written.add('$');
            }
        }
        written.text.push_str(rest);
        written
    }

    fn add(&mut self, letter: char) {
        self.added.push(self.text.len());
        self.text.push(letter);
    }

    /// The column in the file of what stands at that line and column, both from 1, of the text.
    pub(super) fn column_in_file(&self, line: u64, column: u64) -> u64 {
        let Some((start, line)) = self.line(line) else { return column };
        let offsets = line.char_indices().zip(1..).take_while(|(_, number)| *number < column);
        let added = offsets.filter(|((offset, _), _)| self.added.binary_search(&(start + offset)).is_ok());
        column.saturating_sub(u64::try_from(added.count()).unwrap_or(0))
    }

    /// The key that stands at that line and column of the text. The reader does not name it where values beside it come from variables; keys never do.
    pub(super) fn key_at(&self, line: u64, column: u64) -> Option<&str> {
        let (_, line) = self.line(line)?;
        let (start, _) = line.char_indices().nth(usize::try_from(column.checked_sub(1)?).ok()?)?;
        let (key, _) = line.get(start..)?.split_once(':')?;
        Some(key.trim().trim_matches(['"', '\'']))
    }

    /// Where a line begins, and the line. The first is 1.
    fn line(&self, number: u64) -> Option<(usize, &str)> {
        let starts = self.text.match_indices('\n').map(|(end, _)| end + 1);
        let (start, _) = std::iter::once(0).chain(starts).zip(1..).find(|(_, found)| *found == number)?;
        Some((start, self.text.get(start..)?.lines().next()?))
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_a_default_is_required_and_all_else_stays() {
        for (text, expected) in [
            ("a: b", "a: b"),
            ("a: ${KEY}", "a: ${KEY?}"),
            ("a: \"x${KEY}${OTHER}y\"", "a: \"x${KEY?}${OTHER?}y\""),
            ("a: ${KEY:-b}", "a: ${KEY:-b}"),
            ("a: $${KEY}", "a: $${KEY}"),
            ("a: $KEY 5$", "a: $$KEY 5$$"),
            ("a: ${", "a: ${"),
        ] {
            assert_eq!(Written::required(text).text, expected, "{text}");
        }
    }

    #[test]
    fn without_need_a_variable_that_is_not_set_stands_for_itself() {
        for (text, expected) in [
            ("a: ${KEY}", "a: ${KEY?}"),
            ("a: ${NONE} ${KEY:?no}", "a: $${NONE} ${KEY:?no}"),
            ("a: ${NONE?say} ${NONE:?say}", "a: $${NONE?say} $${NONE:?say}"),
            ("a: ${NONE:-b} ${NONE-b}", "a: ${NONE:-b} ${NONE-b}"),
        ] {
            assert_eq!(Written::lenient(text, |name| name == "KEY").text, expected, "{text}");
        }
    }

    #[test]
    fn a_column_is_that_of_the_file() {
        let text = "ä: ${KEY} x\nb: ${A}${B} $5 y\n";
        let written = Written::required(text);
        for (line, letter) in [(1, 'ä'), (1, '$'), (1, 'x'), (2, 'b'), (2, '5'), (2, 'y')] {
            let column = |text: &str| {
                let line = text.lines().nth(line - 1).unwrap();
                u64::try_from(line.chars().position(|found| found == letter).unwrap() + 1).unwrap()
            };
            let line = u64::try_from(line).unwrap();
            assert_eq!(written.column_in_file(line, column(&written.text)), column(text), "{line} {letter}");
        }
    }
}
