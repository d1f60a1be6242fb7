//! Rust source as a flat list of tokens with line numbers: enough to see paths and braces, and never fooled by a comment, a
//! string or a lifetime. A real parser would be the slowest part of a fresh checkout's first minute.

/// One token; what a rule never looks at carries no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// An identifier or keyword, without `r#`.
    Word(String),
    /// `::`
    Colons,
    /// Any other single character of punctuation.
    Mark(char),
    /// A string, character or number.
    Literal,
}

/// A token and the line it starts on, counted from 1.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) token: Token,
    pub(crate) line: usize,
}

impl Spot {
    pub(crate) fn word(&self) -> Option<&str> {
        if let Token::Word(word) = &self.token { Some(word) } else { None }
    }

    pub(crate) fn is(&self, mark: char) -> bool {
        self.token == Token::Mark(mark)
    }

    /// How the depth changes at this token: up at an opening bracket, down at a closing one.
    pub(crate) fn nesting(&self) -> isize {
        match self.token {
            Token::Mark('(' | '[' | '{') => 1,
            Token::Mark(')' | ']' | '}') => -1,
            Token::Word(_) | Token::Colons | Token::Mark(_) | Token::Literal => 0,
        }
    }
}

pub(crate) fn tokens(source: &str) -> Vec<Spot> {
    let mut lexer = Lexer { characters: source.chars().collect(), at: 0, line: 1 };
    let mut spots = Vec::new();
    while let Some(next) = lexer.peek(0) {
        let line = lexer.line;
        if let Some(token) = lexer.token(next) {
            spots.push(Spot { token, line });
        }
    }
    spots
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    /// Reads at least one character; comments and white space give no token.
    fn token(&mut self, next: char) -> Option<Token> {
        match (next, self.peek(1)) {
            ('/', Some('/')) => self.skip_while(|c| c != '\n'),
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => return Some(self.string()),
            ('\'', _) => return self.quote(),
            (':', Some(':')) => {
                self.skip(2);
                return Some(Token::Colons);
            }
            (c, _) if c.is_whitespace() => self.skip(1),
            (c, _) if c.is_ascii_digit() => return Some(self.number()),
            (c, _) if starts_word(c) => return Some(self.word()),
            (c, _) => {
                self.skip(1);
                return Some(Token::Mark(c));
            }
        }
        None
    }

    fn word(&mut self) -> Token {
        let word = self.take_word();
        let raw = matches!(word.as_str(), "r" | "br" | "cr");
        let stringy = raw || matches!(word.as_str(), "b" | "c");
        match self.peek(0) {
            Some('"') if raw => self.raw_string(0),
            Some('"') if stringy => self.string(),
            Some('\'') if word == "b" => self.quote().unwrap_or(Token::Literal),
            Some('#') if raw => {
                let hashes = (0..).take_while(|&ahead| self.peek(ahead) == Some('#')).count();
                match self.peek(hashes) {
                    Some('"') => self.raw_string(hashes),
                    Some(c) if hashes == 1 && starts_word(c) => {
                        self.skip(1);
                        Token::Word(self.take_word())
                    }
                    _ => Token::Word(word),
                }
            }
            _ => Token::Word(word),
        }
    }

    fn take_word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek(0).filter(|&c| c.is_alphanumeric() || c == '_') {
            word.push(c);
            self.skip(1);
        }
        word
    }

    /// A character literal, or a lifetime, which is nothing to us.
    fn quote(&mut self) -> Option<Token> {
        if self.peek(1) == Some('\\') {
            self.skip(3);
            self.skip_while(|c| c != '\'');
            self.skip(1);
            return Some(Token::Literal);
        }
        if self.peek(2) == Some('\'') {
            self.skip(3);
            return Some(Token::Literal);
        }
        self.skip(1);
        self.take_word();
        None
    }

    fn string(&mut self) -> Token {
        self.skip(1);
        while let Some(c) = self.peek(0) {
            self.skip(if c == '\\' { 2 } else { 1 });
            if c == '"' {
                break;
            }
        }
        Token::Literal
    }

    /// At the first `#` or the quote.
    fn raw_string(&mut self, hashes: usize) -> Token {
        self.skip(hashes + 1);
        while let Some(c) = self.peek(0) {
            let closes = c == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            self.skip(1);
            if closes {
                self.skip(hashes);
                break;
            }
        }
        Token::Literal
    }

    /// `1.5e3`, `0xff_u8`; stops before `..` and before a method call.
    fn number(&mut self) -> Token {
        self.take_word();
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.skip(1);
            self.take_word();
        }
        Token::Literal
    }

    /// Block comments nest in Rust.
    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.skip(1);
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                break;
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == Some('\n') {
                self.line += 1;
            }
            self.at += 1;
        }
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.skip(1);
        }
    }
}

fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, words: &str) {
        let seen: Vec<String> = tokens(source).iter().filter_map(Spot::word).map(str::to_owned).collect();
        assert_eq!(seen.join(" "), words, "in {source}");
    }

    #[test]
    fn comments_and_strings_hold_no_words() {
        check("a // b\n/* c /* d */ e */ f", "a f");
        check(r#" a "b \" c" d "#, "a d");
        check("a r#\"b \" c\"# d br\"\\\" e", "a d e");
    }

    #[test]
    fn lifetimes_are_not_characters() {
        check("a: &'b str, 'c', '\\'', '\\u{1F600}', b'd', e", "a str e");
    }

    #[test]
    fn raw_words_lose_their_mark_and_numbers_stop_at_methods() {
        check("r#type 1.max(2) 0..n 1.5e3", "type max n");
    }

    #[test]
    fn lines_count_through_comments_and_strings() {
        let lines: Vec<usize> = tokens("a\n\"x\ny\" /*\n*/ b").iter().map(|spot| spot.line).collect();
        assert_eq!(lines, [1, 2, 4]);
    }
}
