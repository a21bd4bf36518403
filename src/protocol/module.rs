//! The record of a module's version on `lvg.<t>.module.<name>.<version>`, as JSON.

use bytes::Bytes;

use super::{Rejection, versioned};
use crate::model::ModuleRecord;
use crate::model::module::RECORD_VERSION;

/// The body of a record.
#[must_use]
pub fn encode(record: &ModuleRecord) -> Bytes {
    serde_json::to_vec(record).unwrap_or_default().into()
}

/// Reads a record.
///
/// # Errors
/// Anything that is not a record of a version that this code knows.
pub fn decode(body: &Bytes) -> Result<ModuleRecord, Rejection> {
    versioned::read("module record", RECORD_VERSION, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::grants::Grants;
    use crate::model::module::Manifest;
    use crate::model::{Contract, Digest, TaskDescription, TaskName, Timestamp};

    fn record(grants: &[&str]) -> ModuleRecord {
        let granted = grants.iter().fold(Grants::default(), |grants, text| grants.with(text.parse().unwrap()));
        ModuleRecord {
            v: RECORD_VERSION,
            name: "thumbs".parse().unwrap(),
            version: "1".parse().unwrap(),
            digest: Digest::of(b"abc"),
            source_digest: None,
            size: 3,
            contract: Contract::Task,
            tasks: vec![TaskDescription {
                name: TaskName::run(),
                summary: "runs".into(),
                input_schema: Some(serde_json::json!({"type": "object"})),
                output_schema: None,
                media_type: None,
            }],
            manifest: Manifest { grants: granted, ..Manifest::default() },
            pushed_at: Timestamp::from_millis(1),
            removed: false,
        }
    }

    #[test]
    fn a_record_has_a_golden_form() {
        let golden = include_str!("../../tests/golden/module-v1.json").trim();
        let all = [
            "http=GET https://api.example.com",
            "kv=sessions:rw",
            "kv=prices:r",
            "blob=photos:r",
            "secret=api_key",
            "config=level=3",
            "clock",
            "random",
        ];
        for (golden, grants) in
            [(golden, &[][..]), (include_str!("../../tests/golden/module-v1-grants.json").trim(), &all)]
        {
            let record = record(grants);
            assert_eq!(std::str::from_utf8(&encode(&record)).unwrap(), golden);
            assert_eq!(decode(&Bytes::from_static(golden.as_bytes())).unwrap(), record);
        }
    }

    #[test]
    fn a_record_with_a_grant_of_another_kind_is_refused() {
        let golden = include_str!("../../tests/golden/module-v1-grants.json").replace("\"random\"", "\"files\"");
        let error = decode(&golden.into()).unwrap_err();
        assert!(error.to_string().contains("files"), "{error}");
    }

    #[test]
    fn a_newer_record_is_refused_and_says_so() {
        let error = decode(&Bytes::from_static(br#"{"v":2,"name":"x"}"#)).unwrap_err();
        assert!(error.to_string().contains("update it"), "{error}");
    }
}
