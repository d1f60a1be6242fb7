//! What is decided on the tokens, before there are statements.

#![expect(clippy::wildcard_enum_match_arm, reason = "the parser knows a hundred kinds of tokens, and few matter")]

use std::collections::BTreeSet;

use sqlparser::dialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::spec::{Dialect, SqlClass};

/// How many operators and keywords may follow one another without a comma or a bracket between: the tree of an expression is as deep as it has operators.
const CHAIN_LIMIT: usize = 250;

/// The tokens, and the classes of what the parser does not know; none for what databases read differently or what is nested too deep.
pub(super) fn read(
    dialect: Dialect,
    known: &dyn dialect::Dialect,
    sql: &str,
) -> Option<(Vec<TokenWithSpan>, BTreeSet<SqlClass>)> {
    // SQLite ends at a NUL, MySQL runs such comments, some by its version.
    let may_be_mysql = matches!(dialect, Dialect::Generic | Dialect::Mysql);
    if sql.contains('\0') || (may_be_mysql && (sql.contains("/*!") || sql.contains("/*M!"))) {
        return None;
    }
    // What ends a string and what is a comment depends on the dialect.
    if dialect == Dialect::Generic && sql.contains(['\\', '#', '`']) {
        return None;
    }
    let tokens = Tokenizer::new(known, sql).tokenize_with_location().ok()?;
    let is_ambiguous = |token: &TokenWithSpan| dialect == Dialect::Generic && is_ambiguous(&token.token);
    if tokens.iter().any(is_ambiguous) || !is_shallow(&tokens) {
        return None;
    }
    let found = unknown_to_the_parser(dialect, &tokens);
    Some((tokens, found))
}

/// Comments that nest in some dialects only, or are none in MySQL; strings that are such in PostgreSQL only.
fn is_ambiguous(token: &Token) -> bool {
    match token {
        Token::Whitespace(Whitespace::MultiLineComment(comment)) => comment.contains("/*"),
        Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => {
            comment.chars().next().is_some_and(|first| !first.is_whitespace())
        }
        token => matches!(token, Token::DollarQuotedString(_)),
    }
}

fn is_shallow(tokens: &[TokenWithSpan]) -> bool {
    let mut open = vec![0_usize];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => open.push(0),
            Token::RParen | Token::RBracket | Token::RBrace => {
                open.pop();
                if let Some(count) = open.last_mut() {
                    *count += 1;
                }
            }
            Token::Comma | Token::SemiColon => {
                if let Some(count) = open.last_mut() {
                    *count = 0;
                }
            }
            Token::Word(word) if word.keyword == Keyword::NoKeyword => {}
            Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) => {}
            _ => {
                if let Some(count) = open.last_mut() {
                    *count += 1;
                }
            }
        }
        if open.iter().sum::<usize>() > CHAIN_LIMIT {
            return false;
        }
    }
    true
}

fn unknown_to_the_parser(dialect: Dialect, tokens: &[TokenWithSpan]) -> BTreeSet<SqlClass> {
    let words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    });
    words
        .filter_map(|word| match word.as_str() {
            "OUTFILE" | "DUMPFILE" | "OPENROWSET" | "OPENQUERY" | "OPENDATASOURCE" => Some(SqlClass::Outside),
            // Statements of SQL Server need no semicolon between them, and the parser may take one for a name: these words are never names there.
            word if dialect == Dialect::Mssql => of_server(word),
            _ => None,
        })
        .collect()
}

fn of_server(word: &str) -> Option<SqlClass> {
    match word {
        "EXEC" | "EXECUTE" => Some(SqlClass::Call),
        "DROP" => Some(SqlClass::Drop),
        "TRUNCATE" => Some(SqlClass::Truncate),
        "ALTER" => Some(SqlClass::Alter),
        "CREATE" => Some(SqlClass::Create),
        "GRANT" | "REVOKE" | "DENY" => Some(SqlClass::Grant),
        "INSERT" => Some(SqlClass::Insert),
        "UPDATE" => Some(SqlClass::Update),
        "DELETE" => Some(SqlClass::Delete),
        "BACKUP" | "RESTORE" | "BULK" => Some(SqlClass::Outside),
        "SHUTDOWN" | "RECONFIGURE" | "DBCC" | "KILL" | "CHECKPOINT" | "WRITETEXT" | "UPDATETEXT" => {
            Some(SqlClass::Other)
        }
        _ => None,
    }
}
