//! A memory card with photos, and a task that decides what is to be made of each.

use lovage_guest::serde_json::{Value, json};
use lovage_guest::{Bytes, Failure, Flow, info, task};

/// The card: the photos of the examples, and a file that is only named like one.
const CARD: &[(&str, &[u8])] = &[
    ("astronaut.jpg", include_bytes!("../../../photos/astronaut.jpg")),
    ("cat.jpg", include_bytes!("../../../photos/cat.jpg")),
    ("coffee.jpg", include_bytes!("../../../photos/coffee.jpg")),
    ("deep-field.jpg", include_bytes!("../../../photos/deep-field.jpg")),
    ("notes.jpg", b"remember to charge the battery"),
    ("rocket.jpg", include_bytes!("../../../photos/rocket.jpg")),
];

/// The names of what is on the card.
#[task]
fn list() -> Vec<String> {
    CARD.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// A file of the card.
#[task]
fn photo(name: String) -> Result<Bytes, Failure> {
    Ok(file(&name)?.to_vec().into())
}

/// Looks at each file, and hands back the flow that develops those which are photos: wide ones larger than others.
#[task]
fn develop(names: Vec<String>) -> Result<Flow, Failure> {
    let (mut branches, mut skipped) = (Vec::new(), Vec::new());
    for (n, name) in names.iter().enumerate() {
        match size_of(file(name)?) {
            Some((width, height)) => branches.push(branch(n, name, if width > height { 240 } else { 160 })),
            None => skipped.push(name),
        }
    }
    info!("{} photos to develop, {} files skipped", branches.len(), skipped.len());
    Ok(Flow(json!({"chain": [
        {"group": branches},
        {"value": {"photos": "${prev}", "skipped": skipped}},
    ]})))
}

/// What one photo goes through. The branches share a scope, so the names of their steps carry the photo's number.
fn branch(n: usize, name: &str, width: u16) -> Value {
    let (title, thumb) = (name.trim_end_matches(".jpg"), format!("thumb_{n}"));
    json!({"chain": [
        {"task": "album/photo", "input": name},
        {"task": "thumbs/resize", "input": {"photo": "${prev}", "width": width}, "name": thumb},
        {"task": "palette/run", "input": {"swatch": "${prev.swatch}", "count": 3}},
        {"value": {"name": title, "jpeg": format!("${{steps.{thumb}.jpeg}}"), "colours": "${prev.colours}"}},
    ]})
}

fn file(name: &str) -> Result<&'static [u8], Failure> {
    let found = CARD.iter().find(|(known, _)| *known == name);
    found.map(|(_, bytes)| *bytes).ok_or_else(|| Failure::permanent(format_args!("{name} is not on the card")))
}

/// Width and height of a JPEG file: they stand in its frame header, segment `FFC0` to `FFC2`.
fn size_of(file: &[u8]) -> Option<(u16, u16)> {
    let mut rest = file.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let [0xff, marker, high, low, after @ ..] = rest else { return None };
        if let (0xc0..=0xc2, [_, h1, h0, w1, w0, ..]) = (marker, after) {
            return Some((u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0])));
        }
        rest = after.get(usize::from(u16::from_be_bytes([*high, *low])).checked_sub(2)?..)?;
    }
}

lovage_guest::export!(list, photo, develop);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_photos_have_a_size() {
        let sizes: Vec<_> = CARD.iter().map(|(_, file)| size_of(file)).collect();
        assert_eq!(sizes.iter().filter(|size| size.is_none()).count(), 1);
        assert_eq!(size_of(file("notes.jpg").unwrap()), None);
        assert!(
            sizes.iter().flatten().all(|(width, height)| (100..2000).contains(width) && (100..2000).contains(height))
        );
    }
}
