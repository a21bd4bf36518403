//! Paths, and whether one begins with another for every server that may read it.

/// Whether a path lies under a prefix: `/v1` is over itself and over `/v1/a`, not over `/v10`; `/v1/` is over what comes after
/// it. `/` is over everything.
///
/// Servers resolve `..` and decode `%2e`, some of them twice: a path in which that could lead out of the prefix is under none.
pub(super) fn is_under(path: &str, prefix: &str) -> bool {
    if prefix == "/" {
        return path.starts_with('/');
    }
    let rest = path.strip_prefix(prefix);
    let ends_there = |rest: &str| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/');
    rest.is_some_and(ends_there) && is_plain(path)
}

/// Whether all servers see the same segments in a path.
pub(super) fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let hides = HIDING.iter().any(|hiding| lower.contains(hiding));
    // A `;` begins parameters of a segment, which some servers cut off before they look at it.
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    !hides && !lower.split('/').any(is_dots) && !path.bytes().any(|byte| byte.is_ascii_control())
}

/// An encoded dot, slash, backslash or percent sign, and what some servers take for a slash. No path needs them but one that
/// names other paths.
const HIDING: [&str; 5] = ["%2e", "%2f", "%5c", "%25", "\\"];

/// What a message shows of a text that may be long and may hold anything.
pub(super) fn cut(text: &str) -> &str {
    text.char_indices().nth(SHOWN_CHARS).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// Enough for every rule that someone wrote by hand.
const SHOWN_CHARS: usize = 120;
