//! Script tasks: one interpreter, stored and compiled once, runs many scripts.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::guests::built;
use crate::support::platform::{Cli, Ended, shared};

/// Scripts of a test, and a command line without a platform.
struct Scripts {
    dir: TempDir,
    cli: Cli,
}

impl Scripts {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), cli: Cli { nats: "nats://127.0.0.1:1".to_owned() } }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Runs a script in JavaScript by itself.
    fn exec(&self, text: &str, input: &str) -> Ended {
        self.exec_by("script", text, input)
    }

    /// Runs a script by itself, by the interpreter of that name.
    fn exec_by(&self, interpreter: &str, text: &str, input: &str) -> Ended {
        let script = self.file("script", text);
        let module = built(interpreter);
        self.cli.run(&["exec", module.to_str().unwrap(), input, "--script", script.to_str().unwrap()])
    }
}

#[test]
fn a_script_reads_and_returns_json() {
    let scripts = Scripts::new();
    let echo = "export function run(input) { console.log('got', input); return input; }";
    let ended = scripts.exec(echo, r#"{"a": ["grüße", 1.5, null]}"#);
    assert_eq!(ended.output(), r#"{"a":["grüße",1.5,null]}"#);
    assert!(ended.stderr.contains(r#"info  got {"a":["grüße",1.5,null]}"#), "{ended:?}");
    assert_eq!(scripts.exec("export async function run(n) { await null; return n + 1; }", "41").output(), "42");
    assert_eq!(scripts.exec("export const run = () => undefined;", "").output(), "null");
}

#[test]
fn a_script_fails_for_now_or_for_good() {
    let scripts = Scripts::new();
    for (script, words) in [
        ("export function run() { throw new Permanent('no numbers'); }", &["error: refused: no numbers"][..]),
        ("export const other = 1;", &["error: refused: the script exports no function run"]),
        ("export function run( {", &["error: refused: ", "script:1:"]),
        ("export const run = () => { const deeper = () => deeper() + 1; deeper(); }", &["error: trap: call stack"]),
    ] {
        scripts.exec(script, "1").fails(1, words);
    }
    scripts.exec("export const run = (input) => input;", "{").fails(1, &["error: refused: the input is not JSON"]);
    let flaky = "export function run() { throw new Error('busy'); }";
    scripts.exec(flaky, "1").fails(1, &["trying again", "error: returned: busy"]);
}

#[test]
fn a_script_in_lua_reads_and_returns_json() {
    let scripts = Scripts::new();
    let lua = |text: &str, input: &str| scripts.exec_by("script-lua", text, input);
    let echo = "function run(input) print('got', input.a[1]) return input end";
    let given = r#"{"a":["grüße\u0000🌿",1.5,null,[],{},9007199254740993]}"#;
    let echoed = lua(echo, given);
    assert_eq!(echoed.json(), serde_json::from_str::<serde_json::Value>(given).unwrap());
    assert!(echoed.stderr.contains("info  got"), "{echoed:?}");
    // What errors are caught with, and coroutines left by, is exceptions of Wasm.
    let caught = "function run(n)
        local ok, why = pcall(function() error({code = n}) end)
        local squares = coroutine.wrap(function() for i = 1, n do coroutine.yield(i * i) end end)
        local sum = 0
        for square in squares do sum = sum + square end
        return {ok = ok, code = why.code, sum = sum}
    end";
    assert_eq!(lua(caught, "100").json(), serde_json::json!({"ok": false, "code": 100, "sum": 338_350}));
    assert_eq!(lua("function run() end", "").output(), "null");
    let stats = std::fs::read_to_string("examples/guests/script-lua/stats.lua").unwrap();
    assert_eq!(lua(&stats, "[1, 2, 6]").json()["mean"], 3.0);
    lua(&stats, "[]").fails(1, &["error: refused: no numbers"]);
    lua(&stats, "7").fails(1, &["error: refused: an array of numbers is wanted"]);
}

#[test]
fn a_script_in_lua_fails_for_now_or_for_good() {
    let scripts = Scripts::new();
    for (text, input, words) in [
        ("function run() permanent('no numbers') end", "1", &["error: refused: no numbers"][..]),
        ("function run() error(permanent('no numbers')) end", "1", &["error: refused: no numbers"]),
        ("function other() end", "1", &["error: refused: ", "run"]),
        ("function run(", "1", &["error: refused: "]),
        ("function run(input) return input end", "{", &["error: refused: "]),
        ("function run() return '\\xff' end", "1", &["error: refused: the output cannot be written"]),
        ("function run() return 0/0 end", "1", &["error: refused: the output cannot be written"]),
        ("function run() local t = {} t.t = t return t end", "1", &["error: refused: the output cannot be written"]),
        ("function run() return run end", "1", &["error: refused: the output cannot be written"]),
        ("function run() error('busy') end", "1", &["trying again", "error: returned: busy"]),
        ("function run() return io.open('/etc/passwd').x end", "1", &["error: returned: "]),
        ("function run() os.execute('ls') permanent('there is no shell') end", "1", &["refused: there is no shell"]),
    ] {
        scripts.exec_by("script-lua", text, input).fails(1, words);
    }
    let deep = "function run(n) return 1 + run(n) end";
    scripts.exec_by("script-lua", deep, "1").fails(1, &["stack overflow"]);
}

#[test]
fn a_script_in_python_reads_and_returns_json() {
    let scripts = Scripts::new();
    let python = |text: &str, input: &str| scripts.exec_by("script-python", text, input);
    let echo = "def run(given):\n    print('got', given['a'][0])\n    return given\n";
    let given = r#"{"a":["grüße\u0000🌿",1.5,null,[],{},9007199254740993]}"#;
    let echoed = python(echo, given);
    assert_eq!(echoed.json(), serde_json::from_str::<serde_json::Value>(given).unwrap());
    assert!(echoed.stderr.contains("info  got grüße"), "{echoed:?}");
    let caught = "
import re
class Odd(Exception):
    pass
def squares(n):
    for i in range(1, n + 1):
        yield i * i
async def run(n):
    try:
        raise Odd(n)
    except Odd as raised:
        return {'code': raised.args[0], 'sum': sum(squares(n)), 'word': re.match('[a-z]+', 'abc1').group(0)}
";
    assert_eq!(python(caught, "100").json(), serde_json::json!({"code": 100, "sum": 338_350, "word": "abc"}));
    assert_eq!(python("def run(_):\n    pass\n", "").output(), "null");
    let stats = std::fs::read_to_string("examples/guests/script-python/stats.py").unwrap();
    assert_eq!(python(&stats, "[1, 2, 6]").json()["mean"], 3.0);
    python(&stats, "[]").fails(1, &["error: refused: no numbers"]);
    python(&stats, "7").fails(1, &["error: refused: an array of numbers is wanted"]);
}

#[test]
fn a_script_in_python_fails_for_now_or_for_good() {
    let scripts = Scripts::new();
    for (text, input, words) in [
        ("def run(_): raise Permanent('no numbers')", "1", &["error: refused: no numbers"][..]),
        ("def other(_): pass", "1", &["error: refused: the script has no function run"]),
        ("def run(", "1", &["error: refused: "]),
        ("def run(given): return given", "{", &["error: refused: the input is not JSON"]),
        ("def run(_): raise ValueError('busy')", "1", &["trying again", "error: returned: busy"]),
        ("def run(_): return open('/etc/passwd').read()", "1", &["error: returned: "]),
        ("def run(_): return 'x' * (1 << 30)", "1", &["error: returned: "]),
        ("def run(n): return run(n) + 1", "1", &["maximum recursion depth exceeded"]),
    ] {
        scripts.exec_by("script-python", text, input).fails(1, words);
    }
}

#[test]
fn a_script_that_makes_much_garbage_keeps_what_it_holds() {
    let scripts = Scripts::new();
    let text = "
def run(n):
    kept = {}
    for i in range(n):
        kept[str(i)] = [str(i), {'i': i}]
        garbage = [str(j) * 10 for j in range(20)]
    return all(kept[str(i)][0] == str(i) and kept[str(i)][1]['i'] == i for i in range(n))
";
    assert_eq!(scripts.exec_by("script-python", text, "5000").output(), "true");
}

#[test]
fn many_scripts_share_one_interpreter() {
    let dev = shared();
    let scripts = Scripts::new();
    let module = built("script");
    let push = |name: &str, more: &[&str]| {
        let ended = dev.cli.run(&[&["module", "push", name, module.to_str().unwrap(), "--json"], more].concat());
        ended.json()
    };
    let double = scripts.file("double.js", "export const run = (n) => n * 2; export const {task} = {task: 1};");
    let both = scripts.file("both.js", "export const half = (n) => n / 2; export const square = (n) => n * n;");
    let manifest = scripts.file("both.toml", "[tasks]\nhalf = {}\nsquare = {}\n");
    let first = push("double", &["--script", double.to_str().unwrap()]);
    let second = push("both", &["--script", both.to_str().unwrap(), "--manifest", manifest.to_str().unwrap()]);
    assert_eq!(first["digest"], second["digest"], "they are stored and compiled as one");
    assert_eq!(dev.cli.run(&["call", "double/run", "21"]).output(), "42");
    assert_eq!(dev.cli.run(&["call", "both/half", "21"]).output(), "10.5");
    assert_eq!(dev.cli.run(&["call", "both/square", "21"]).output(), "441");
    // Another script is another version.
    std::fs::write(&double, "export const run = (n) => n + n + 0.5;").unwrap();
    assert_eq!(push("double", &["--script", double.to_str().unwrap()])["version"], "2");
    assert_eq!(dev.cli.run(&["call", "double/run", "21"]).output(), "42.5");
}

#[test]
fn a_script_that_is_none_is_refused_before_anything_is_stored() {
    let scripts = Scripts::new();
    let push = |module: &str, script: &std::path::Path| {
        let args = ["module", "push", "x", built(module).to_str().unwrap(), "--script", script.to_str().unwrap()]
            .map(str::to_owned);
        scripts.cli.run(&args.each_ref().map(String::as_str))
    };
    push("script", &scripts.dir.path().join("none.js")).fails(2, &["failed to read"]);
    push("script", &scripts.file("long.js", &"x".repeat((256 << 10) + 1))).fails(2, &["at most 262144 are accepted"]);
    push("script", &scripts.file("nul.js", "a\0b")).fails(2, &["holds no NUL"]);
    push("hello", &scripts.file("fine.js", "1")).fails(2, &["names its tasks itself"]);
}

#[test]
fn a_flow_calls_scripts() {
    let scripts = Scripts::new();
    let flow = scripts.file(
        "flow.yaml",
        "name: scripted\nflow:\n  chain:\n    - task: stats/run\n      input: ${input}\n    - value: ${prev.mean}\n",
    );
    let module = format!("stats={}", built("script").display());
    let run = |script: &str| {
        let script = format!("{script}=examples/guests/script/stats.js");
        let flow = flow.to_str().unwrap();
        scripts.cli.run(&["exec", flow, "[1, 2, 6]", "--quiet", "--module", &module, "--script", &script])
    };
    assert_eq!(run("stats").output(), "3");
    run("other").fails(2, &["--script names the module other"]);
}
