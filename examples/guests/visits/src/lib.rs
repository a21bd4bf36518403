//! Visits of pages, counted in the key-value bucket `visits` by as many tasks at once as there are.
//!
//! Pushed with `--grant kv=visits:rw`; `count` alone writes.

use lovage_guest::{Failure, data, kv, task};

/// The bucket, which the module must be granted.
const BUCKET: &str = "visits";

/// How often a count is tried again when others count the same page at the same time.
const TRIES_MAX: u32 = 50;

/// How often a page was visited.
#[data]
struct Visits {
    /// The page.
    page: String,
    /// How often.
    visits: u64,
}

/// Counts a visit of a page, and says how many there were.
#[task]
fn count(page: String) -> Result<Visits, Failure> {
    for _ in 0..TRIES_MAX {
        let (visits, revision) = read(&page)?;
        let visits = visits + 1;
        match kv::compare_and_set(BUCKET, &page, visits.to_string().as_bytes(), revision) {
            Ok(_) => return Ok(Visits { page, visits }),
            // Somebody else counted in between: their visit counts, too.
            Err(kv::Error::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::retryable("too many visits at the same time"))
}

/// How often a page was visited.
#[task]
fn visits(page: String) -> Result<Visits, Failure> {
    let (visits, _) = read(&page)?;
    Ok(Visits { page, visits })
}

/// The visits of all pages whose names begin so, the most visited first.
#[task]
fn top(prefix: String) -> Result<Vec<Visits>, Failure> {
    let mut all = Vec::new();
    for page in kv::keys(BUCKET, &prefix, 1_000)? {
        let (visits, _) = read(&page)?;
        all.push(Visits { page, visits });
    }
    all.sort_by(|one, other| other.visits.cmp(&one.visits).then_with(|| one.page.cmp(&other.page)));
    Ok(all)
}

/// Begins anew with a page.
#[task]
fn reset(page: String) -> Result<(), Failure> {
    Ok(kv::delete(BUCKET, &page)?)
}

/// The number that is kept for a page, and which write it is from.
fn read(page: &str) -> Result<(u64, kv::Revision), Failure> {
    let Some(entry) = kv::get(BUCKET, page)? else { return Ok((0, kv::Revision::NONE)) };
    let text = str::from_utf8(&entry.value)?;
    Ok((text.parse()?, entry.revision))
}

lovage_guest::export!(count, visits, top, reset);
