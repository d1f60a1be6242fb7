//! What a person reads: numbered chapters, who says what, and facts with a mark once they were checked. Colours and rests only on a terminal.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::IsTerminal as _;
use std::time::Duration;

use crate::cli::demo::trouble::differs;
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::read::has_no_color;

/// How wide a line is, in characters.
const WIDTH: usize = 80;
/// How long a reader may rest after a paragraph.
const REST: Duration = Duration::from_millis(600);
/// How long an agent rests after each step for a reader to follow.
const STEP_PAUSE_MS: u64 = 120;
/// Where the text of a line begins that somebody says.
const SPEECH_INDENT: usize = 12;

/// The escape sequences of ECMA-48 that are used; each ends at the next [`PLAIN`].
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Plain,
    Bold,
    Faint,
    Red,
    Green,
    Yellow,
    Blue,
}

const PLAIN: &str = "\x1b[0m";

/// Standard output as a page.
pub(super) struct Page {
    /// Somebody reads along.
    is_terminal: bool,
    is_colored: bool,
    chapters: u32,
    facts: u32,
    /// The last line was empty: two of them would be a hole.
    is_after_gap: Cell<bool>,
}

impl Page {
    pub(super) fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let is_colored = is_terminal && !has_no_color();
        Self { is_terminal, is_colored, chapters: 0, facts: 0, is_after_gap: Cell::new(false) }
    }

    /// How many facts were checked so far.
    pub(super) fn facts(&self) -> u32 {
        self.facts
    }

    /// How long an agent rests after each step, in milliseconds.
    pub(super) fn step_pause_ms(&self) -> u64 {
        if self.is_terminal { STEP_PAUSE_MS } else { 0 }
    }

    /// What all of it is.
    pub(super) fn title(&self, title: &str) {
        self.gap();
        self.line(Tone::Bold, title);
    }

    /// A new chapter, and what it is about.
    pub(super) async fn chapter(&mut self, title: &str, about: &str) {
        self.chapters += 1;
        self.gap();
        self.line(Tone::Bold, &format!("{}  {title}", self.chapters));
        self.paragraph(about).await;
    }

    /// An explanation, with a rest for the reader.
    pub(super) async fn paragraph(&self, text: &str) {
        self.text(text);
        if self.is_terminal {
            tokio::time::sleep(REST).await;
        }
    }

    /// Text between empty lines.
    pub(super) fn text(&self, text: &str) {
        self.gap();
        for line in wrapped(text, WIDTH - 3) {
            self.line(Tone::Plain, &format!("   {line}"));
        }
        self.gap();
    }

    /// Lines as they stand in a file or on a screen.
    pub(super) fn verbatim(&self, text: &str) {
        for line in text.lines() {
            self.line(Tone::Plain, format!("      {line}").trim_end());
        }
        self.gap();
    }

    /// Somebody says or does something.
    pub(super) fn said(&self, who: &str, tone: Tone, what: &str) {
        for (number, line) in wrapped(what, WIDTH - SPEECH_INDENT).iter().enumerate() {
            let who = if number == 0 { who } else { "" };
            let who = self.toned(Tone::Faint, &format!("   {who:<9}"));
            self.line(Tone::Plain, &format!("{who}{}", self.toned(tone, line)));
        }
    }

    /// A fact that is so.
    pub(super) fn fact(&mut self, fact: &str) {
        self.facts += 1;
        for (number, line) in wrapped(fact, WIDTH - 5).iter().enumerate() {
            let mark = if number == 0 { self.toned(Tone::Green, "✓") } else { " ".to_owned() };
            self.line(Tone::Plain, &format!("   {mark} {line}"));
        }
    }

    /// A fact that is told if it is so, and ends the story otherwise.
    pub(super) fn check<T: PartialEq + Debug>(&mut self, fact: &str, found: T, expected: T) -> Result<(), Exit> {
        if found != expected {
            return Err(differs(format!("{fact}: expected {expected:?}, found {found:?}")));
        }
        self.fact(fact);
        Ok(())
    }

    /// An empty line, unless there is one already.
    pub(super) fn gap(&self) {
        if !self.is_after_gap.replace(true) {
            print::line("");
        }
    }

    fn line(&self, tone: Tone, text: &str) {
        self.is_after_gap.set(false);
        print::line(&self.toned(tone, text));
    }

    fn toned(&self, tone: Tone, text: &str) -> String {
        if !self.is_colored {
            return text.to_owned();
        }
        let start = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Bold => "\x1b[1m",
            Tone::Faint => "\x1b[2m",
            Tone::Red => "\x1b[31m",
            Tone::Green => "\x1b[32m",
            Tone::Yellow => "\x1b[33m",
            Tone::Blue => "\x1b[34m",
        };
        format!("{start}{text}{PLAIN}")
    }
}

/// The words in lines of at most so many characters; a word that is longer has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole_and_lines_short() {
        assert_eq!(wrapped("a bc  def\nghij klmnopq r", 6), ["a bc", "def", "ghij", "klmnopq", "r"]);
        assert_eq!(wrapped("", 6), [""]);
    }
}
