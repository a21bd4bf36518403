//! What is refused before anything compiles, and in which words.

use std::sync::LazyLock;

use lovage::model::{Contract, Digest};
use lovage::sandbox::{Error, MODULE_BYTES_MAX, Rejection, inspect};

use super::{Rig, guests};

fn rejection(text: &str) -> Rejection {
    inspect(&wat::parse_str(text).unwrap()).unwrap_err()
}

#[test]
fn bytes_that_are_no_wasm_are_refused() {
    for bytes in [&b""[..], b"hello", b"\x7fELF", b"(module)", b"\0as"] {
        assert_eq!(inspect(bytes).unwrap_err(), Rejection::NotWasm);
    }
    assert!(matches!(inspect(b"\0asm\x07\0\0\0").unwrap_err(), Rejection::Invalid { .. }));
}

#[test]
fn a_truncated_module_is_refused_wherever_it_ends() {
    let whole = guests::says(1, "{}", 0);
    let mut valid = 0;
    for end in 4..whole.len() {
        match inspect(&whole[..end]) {
            Ok(_) => valid += 1,
            Err(Rejection::Invalid { .. } | Rejection::NoContract { .. }) => {}
            Err(other) => panic!("{end}: {other}"),
        }
    }
    assert!(valid <= 2, "only a cut before the data, or before the names, leaves a module");
}

#[test]
fn a_module_of_too_many_bytes_is_refused_unread() {
    let size = MODULE_BYTES_MAX + 1;
    let rejection = inspect(&vec![0; size]).unwrap_err();
    assert_eq!(rejection, Rejection::TooLarge { size: size as u64, max: MODULE_BYTES_MAX as u64 });
}

#[test]
fn an_unknown_import_is_named() {
    for (import, name) in [
        (r#"(import "env" "do_magic" (func))"#, "env.do_magic"),
        (r#"(import "wasi_snapshot_preview1" "fd_fly" (func))"#, "wasi_snapshot_preview1.fd_fly"),
        (r#"(import "wasi_snapshot_preview1" "fd_write" (memory 1))"#, "wasi_snapshot_preview1.fd_write"),
        (r#"(import "wasi_unstable" "fd_write" (func))"#, "wasi_unstable.fd_write"),
    ] {
        let rejection = rejection(&format!(r#"(module {import} (func (export "_start")))"#));
        assert!(matches!(&rejection, Rejection::UnknownImport { name: found, .. } if found == name), "{rejection}");
        assert!(rejection.to_string().contains(name));
    }
    let component = rejection(r#"(component (import "acme:api/thing@1.0.0" (instance)))"#);
    assert!(matches!(&component, Rejection::UnknownImport { name, .. } if name == "acme:api/thing@1.0.0"));
    for name in ["wasi:clocks/system-clock@0.3.0", "wasi:cli/stdout@0.3.0-rc-2026-01-06", "wasi:io/streams"] {
        let later = rejection(&format!(r#"(component (import "{name}" (instance)))"#));
        assert!(matches!(&later, Rejection::UnknownImport { name: found, .. } if found == name), "{later}");
        assert!(later.to_string().contains("of WASI 0.2"), "{later}");
    }
    for name in ["wasi:http/incoming-handler@0.2.0", "wasi:http/handler@0.3.0", "wasi:http/types@0.3.0"] {
        let http = rejection(&format!(r#"(component (import "{name}" (instance)))"#));
        assert!(matches!(&http, Rejection::NotOffered { name: found } if found == name), "{http}");
    }
}

#[test]
fn a_module_without_a_contract_is_told_what_it_lacks() {
    for text in [
        r#"(module (func (export "main")))"#,
        r#"(module (global (export "_start") i32 (i32.const 0)))"#,
        r#"(component)"#,
    ] {
        assert!(matches!(rejection(text), Rejection::NoContract { .. }), "{text}");
    }
}

#[test]
fn wasm_beyond_what_toolchains_need_is_refused() {
    for text in [
        r#"(module (memory 1) (memory 1) (func (export "_start")))"#,
        r#"(module (memory i64 1) (func (export "_start")))"#,
        r#"(module (memory 1 1 shared) (func (export "_start")))"#,
        r#"(module (tag) (func (export "_start") try catch_all end))"#,
        r#"(module (type (struct)) (func (export "_start")))"#,
        r#"(module (func (export "_start") (param externref)))"#,
        r#"(module (func (export "_start") (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))))"#,
    ] {
        assert!(matches!(rejection(text), Rejection::Invalid { .. }), "{text}");
    }
}

#[test]
fn too_much_of_anything_is_counted() {
    let functions = format!(r#"(module {} (func (export "_start")))"#, "(func)".repeat(200_001));
    assert!(matches!(rejection(&functions), Rejection::TooMany { what: "functions", .. }));
    let body = format!(r#"(module (func (export "_start") {}))"#, "(drop (i32.const 1))".repeat(400_000));
    assert!(matches!(rejection(&body), Rejection::TooMany { what: "bytes of code in one function", .. }));
    let nested = format!("(component {} {})", "(component".repeat(20), ")".repeat(20));
    assert!(matches!(rejection(&nested), Rejection::TooMany { what: "nested components", .. }));
    let custom = format!(r#"(module {} (func (export "_start")))"#, r#"(@custom "x" "")"#.repeat(2_001));
    assert!(matches!(rejection(&custom), Rejection::TooMany { what: "custom sections", .. }));
}

#[test]
fn contracts_are_found_from_the_module() {
    let command = guests::spins();
    let found = inspect(&command).unwrap();
    assert_eq!((found.contract, found.memory_min_bytes), (Contract::Command, 4 << 16));
    assert!(found.imports.contains(&"wasi_snapshot_preview1.fd_write".to_owned()));
    assert_eq!(found.stored.as_ref(), &command[..]);

    let upload = guests::task("", guests::ECHO);
    let found = inspect(&upload).unwrap();
    assert_eq!(found.contract, Contract::Task);
    assert!(found.exports.contains(&"describe".to_owned()), "{:?}", found.exports);
    assert_ne!(found.stored.as_ref(), &upload[..], "it was turned into a component");
    let again = inspect(&found.stored).unwrap();
    assert_eq!(
        (again.contract, again.stored),
        (found.contract, found.stored.clone()),
        "and stays as it is from then on"
    );
}

#[test]
fn a_component_type_that_does_not_fit_its_module_is_refused() {
    let mut upload = guests::task("", guests::ECHO);
    let at = upload.windows(8).position(|name| name == b"describe").unwrap();
    upload[at] = b'D';
    let rejection = inspect(&upload).unwrap_err();
    assert!(matches!(rejection, Rejection::NotAComponent { .. } | Rejection::Invalid { .. }), "{rejection}");
}

#[tokio::test]
async fn bytes_of_another_digest_are_refused() {
    let rig = Rig::new();
    let error = rig.sandbox.load(&Digest::of(b"else"), guests::spins().into()).await.unwrap_err();
    assert!(matches!(error, Error::Rejected(Rejection::DigestMismatch { .. })) && !error.is_transient(), "{error}");
}

/// A command, a task as a toolchain makes it, and the component that it becomes.
static GOOD: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let task = guests::task("", guests::ECHO);
    let component = inspect(&task).unwrap().stored.into_owned();
    [guests::says(1, "{}", 0), task, component]
});

proptest::proptest! {
    #[test]
    fn whatever_is_uploaded_is_accepted_or_refused(at in 8usize..4_096, byte: u8, cut in 0usize..64, kind in 0usize..3) {
        let mut upload = GOOD[kind].clone();
        let len = upload.len();
        upload[at % len] = byte;
        upload.truncate(len - cut);
        // No panic, and nothing accepted that would not be accepted again.
        if let Ok(found) = inspect(&upload) {
            proptest::prop_assert_eq!(inspect(&found.stored).unwrap().contract, found.contract);
        }
    }
}
