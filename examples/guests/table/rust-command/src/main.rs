//! What every language must be able to do: see ../../README.md. A command: the task is argv[1], its input is on stdin.

use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;

/// The exit code of a task that refuses its input for good.
const NEVER: u8 = 65;

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    run(&task).unwrap_or_else(|error| fail(NEVER, &error.to_string()))
}

fn run(task: &str) -> Result<ExitCode, Box<dyn Error>> {
    match task {
        "sum" => {
            let numbers: Vec<f64> = serde_json::from_reader(std::io::stdin())?;
            println!("{}", numbers.iter().fold(0.0, |total, number| total + number));
        }
        "echo" => {
            let text: Value = serde_json::from_reader(std::io::stdin())?;
            println!("{text}");
        }
        "busy" => return Ok(fail(1, "try again")),
        "never" => return Ok(fail(NEVER, "never again")),
        "say" => {
            (1..=3).for_each(|line| eprintln!("line {line}: grüße"));
            println!("3");
        }
        "babble" => println!("no JSON"),
        "quit" => return Ok(ExitCode::from(serde_json::from_reader::<_, u8>(std::io::stdin())?)),
        "panic" => panic!("as asked"),
        _ => return Ok(fail(NEVER, &format!("no task {task}"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}
