//! Where an expression ends, and whether the parser can take it: what the tokens alone tell.

use cel::parser::pratt_parser::{Lexer, TokenKind};

use super::bounds::{NESTING_MAX, SOURCE_LEN_MAX, TOKENS_MAX};

/// Where the expression ends that begins this text: at the `}` that closes what `${` opened.
/// Tokens are those of the parser itself, so that quotes, raw strings and comments mean the same to both.
pub(super) fn end_in(text: &str) -> Result<usize, String> {
    walk(text, true)?.ok_or_else(|| "${ is not closed".to_owned())
}

/// Refuses what is too long or nests too deep for the parser.
pub(super) fn check(source: &str) -> Result<(), String> {
    if source.len() > SOURCE_LEN_MAX {
        return Err(too_long());
    }
    if source.trim().is_empty() {
        return Err("the expression is empty".to_owned());
    }
    walk(source, false).map(|_| ())
}

fn too_long() -> String {
    format!("it takes {SOURCE_LEN_MAX} bytes at most: what is longer is a task")
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
fn walk(text: &str, until_closed: bool) -> Result<Option<usize>, String> {
    let mut lexer = Lexer::new(text);
    let mut depth = 0_usize;
    let mut tokens = 0_usize;
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd => return Ok(None),
            TokenKind::TokError => {
                let message = lexer.get_error().map(|error| error.message.clone()).unwrap_or_default();
                return Err(message);
            }
            TokenKind::TokRightBrace if depth == 0 && until_closed => return Ok(Some(token.start)),
            TokenKind::TokLeftBrace | TokenKind::TokLeftBracket | TokenKind::TokLeftParen => depth += 1,
            TokenKind::TokRightBrace | TokenKind::TokRightBracket | TokenKind::TokRightParen => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        tokens += usize::from(token.kind != TokenKind::TokWhitespace && token.kind != TokenKind::TokComment);
        if token.end > SOURCE_LEN_MAX {
            return Err(too_long());
        }
        if tokens > TOKENS_MAX {
            return Err(format!("it takes {TOKENS_MAX} names, numbers and signs at most: what is longer is a task"));
        }
        if depth > NESTING_MAX {
            return Err(format!("brackets nest {NESTING_MAX} deep at most"));
        }
    }
}
