//! Modules that no text can hold: too much of one thing, written as bytes.

use super::corpus::Guest;

/// The magic number and the version of a core module.
const HEAD: &[u8] = b"\0asm\x01\0\0\0";

/// A number as Wasm writes it.
pub(super) fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

pub(super) fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(body.len()), body].concat()
}

/// A section that says how many entries it has, and has them.
fn entries(id: u8, count: usize, entry: &[u8]) -> Vec<u8> {
    section(id, &[leb(count), entry.repeat(count)].concat())
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [HEAD.to_vec(), sections.concat()].concat()
}

/// A section that claims more entries than it has bytes.
fn liar(id: u8) -> Vec<u8> {
    module(&[section(id, &leb(0xffff_ffff))])
}

/// A function type without parameters.
const EMPTY_TYPE: &[u8] = &[0x60, 0, 0];

/// An import of a function of type 0: the names `a` and `b`.
const IMPORT: &[u8] = &[1, b'a', 1, b'b', 0, 0];

/// One function whose body is these bytes.
fn one_function(body: &[u8]) -> Vec<u8> {
    let code = [&[0][..], body, &[0x0b]].concat();
    let code = [leb(1), leb(code.len()), code].concat();
    module(&[entries(1, 1, EMPTY_TYPE), entries(3, 1, &[0]), section(10, &code)])
}

/// A jump table of half a million targets, which a compiler would turn into as many blocks' edges.
fn jump_table() -> Vec<u8> {
    let targets = 2_000_000;
    one_function(&[&[0x41, 0, 0x0e][..], &leb(targets), &vec![0; targets + 1]].concat())
}

/// Components within components.
fn nested_components(depth: usize) -> Vec<u8> {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    (0..depth).fold(COMPONENT.to_vec(), |inner, _| [COMPONENT.to_vec(), section(4, &inner)].concat())
}

/// A custom section of so many bytes.
fn custom(bytes: usize) -> Vec<u8> {
    section(0, &[&[1, b'x'][..], &vec![0; bytes]].concat())
}

pub(super) fn generated() -> Vec<Guest> {
    let types = |count| entries(1, count, EMPTY_TYPE);
    let refused = Guest::refused;
    vec![
        refused("too-large", 1, [HEAD.to_vec(), vec![0; 65 << 20]].concat(), "67108864"),
        refused("a-million-types", 1, module(&[types(1_000_000)]), "types"),
        refused("a-million-imports", 1, module(&[types(1), entries(2, 1_000_000, IMPORT)]), "imports"),
        refused("a-million-functions", 1, module(&[types(1), entries(3, 1_000_000, &[0])]), "functions"),
        refused("a-million-exports", 1, module(&[types(1), entries(7, 1_000_000, &[1, b'a', 0, 0])]), "exports"),
        refused("a-huge-custom-section", 1, module(&[custom(49 << 20)]), "bytes of custom sections"),
        refused("many-custom-sections", 1, module(&vec![custom(1); 3_000]), "custom sections"),
        refused("many-empty-sections", 1, module(&vec![custom(0); 60_000]), "sections"),
        refused("a-huge-body", 1, one_function(&vec![0x01; 2 << 20]), "bytes of code in one function"),
        refused("a-huge-jump-table", 1, jump_table(), "bytes of code in one function"),
        refused("nested-components", 1, nested_components(20), "nested components"),
        refused("claims-too-many-types", 1, liar(1), "types"),
        refused("claims-too-many-imports", 1, liar(2), "imports"),
        refused("claims-too-many-elements", 1, liar(9), "invalid module"),
        refused("nothing-but-a-head", 1, HEAD.to_vec(), "_start"),
        refused("cut-in-a-section", 1, [module(&[types(10)]), vec![1, 0x80]].concat(), "invalid module"),
    ]
}
