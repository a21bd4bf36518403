//! Votes, counted through the interfaces of WASI alone: nothing here knows of Lovage.
//!
//! Pushed with `--grant kv=votes:rw --grant config=choices=yes,no`; another bucket is named by `config=bucket=NAME`.

wit_bindgen::generate!({ world: "tally", generate_all });

use wasi::config::store as config;
use wasi::keyvalue::store::{self, Bucket};
use wasi::keyvalue::{atomics, batch};

struct Tally;

export!(Tally);

impl Guest for Tally {
    fn vote(choice: String) -> Result<u64, String> {
        let choices = setting("choices")?.ok_or("no choices are set (config=choices=A,B)")?;
        if !choices.split(',').any(|known| known == choice) {
            return Err(format!("{choice:?} is none of {choices}"));
        }
        atomics::increment(&bucket()?, &choice, 1).map_err(shown)
    }

    fn votes() -> Result<Vec<(String, u64)>, String> {
        let bucket = bucket()?;
        let mut votes = Vec::new();
        for choice in bucket.list_keys(None).map_err(shown)?.keys {
            let count = bucket.get(&choice).map_err(shown)?.unwrap_or_default();
            let count = number(&choice, &count)?;
            votes.push((choice, count));
        }
        votes.sort();
        Ok(votes)
    }

    fn enter(counted: Vec<(String, u64)>) -> Result<(), String> {
        let bucket = bucket()?;
        if let [(choice, count @ 1..)] = &counted[..] {
            return bucket.set(choice, count.to_string().as_bytes()).map_err(shown);
        }
        let (some, none): (Vec<_>, Vec<_>) = counted.into_iter().partition(|(_, count)| *count > 0);
        let some: Vec<_> = some.into_iter().map(|(choice, count)| (choice, count.to_string().into_bytes())).collect();
        let none: Vec<_> = none.into_iter().map(|(choice, _)| choice).collect();
        batch::set_many(&bucket, &some).map_err(shown)?;
        batch::delete_many(&bucket, &none).map_err(shown)
    }

    fn of(choices: Vec<String>) -> Result<Vec<Option<u64>>, String> {
        let found = batch::get_many(&bucket()?, &choices).map_err(shown)?;
        found.into_iter().map(|entry| entry.map(|(choice, count)| number(&choice, &count)).transpose()).collect()
    }

    fn strike(choice: String) -> Result<bool, String> {
        let bucket = bucket()?;
        let there = bucket.exists(&choice).map_err(shown)?;
        bucket.delete(&choice).map_err(shown)?;
        Ok(there)
    }
}

fn number(choice: &str, count: &[u8]) -> Result<u64, String> {
    String::from_utf8_lossy(count).parse().map_err(|error| format!("{choice}: {error}"))
}

fn bucket() -> Result<Bucket, String> {
    store::open(&setting("bucket")?.unwrap_or_else(|| "votes".to_owned())).map_err(shown)
}

fn setting(key: &str) -> Result<Option<String>, String> {
    config::get(key).map_err(|error| format!("{error:?}"))
}

fn shown(error: store::Error) -> String {
    match error {
        store::Error::NoSuchStore => "there is no such bucket".to_owned(),
        store::Error::AccessDenied => "the bucket is not granted".to_owned(),
        store::Error::Other(reason) => reason,
    }
}
