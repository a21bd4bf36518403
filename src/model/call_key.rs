//! Calls of a task that belong together: all of them, or those with the same key.

use super::Digest;

/// The longest key, in bytes.
pub const KEY_LEN_MAX: usize = 256;

/// Hexadecimal digits of a name's digest in subjects: 128 bits.
const TOKEN_LEN: usize = 32;

/// A key that is empty or too long; its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key takes 1 to {KEY_LEN_MAX} bytes of text, not {0}")]
pub struct InvalidKey(pub usize);

/// What calls that belong together are called: `thumbs/resize`, or `thumbs/resize key acme`. Keys are a task's own: two tasks never
/// share one.
///
/// # Errors
/// A key that is empty or too long.
pub fn name(task: &str, key: Option<&str>) -> Result<String, InvalidKey> {
    let Some(key) = key else { return Ok(task.to_owned()) };
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        return Err(InvalidKey(key.len()));
    }
    // It stands on screens: what is no text becomes a space.
    let key: String = key.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Ok(format!("{task} key {key}"))
}

/// A name as one token of a subject: a key may hold any text.
#[must_use]
pub fn token(name: &str) -> String {
    Digest::of(name.as_bytes()).hex().chars().take(TOKEN_LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_bounds_and_are_a_tasks_own() {
        assert_eq!(name("m/t", None).unwrap(), "m/t");
        assert_eq!(name("m/t", Some("a\nb")).unwrap(), "m/t key a b");
        assert_ne!(token("m/t key a"), token("m/u key a"));
        assert_eq!(token("m/t").len(), 32);
        for key in ["", &"x".repeat(KEY_LEN_MAX + 1)] {
            assert_eq!(name("m/t", Some(key)), Err(InvalidKey(key.len())));
        }
    }
}
