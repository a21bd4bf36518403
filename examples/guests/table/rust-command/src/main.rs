//! What every language must be able to do: see ../../README.md. A command: the task is argv[1], its input is on stdin.

use std::error::Error;
use std::process::ExitCode;

use serde::de::DeserializeOwned;
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
            let numbers: Vec<f64> = input()?;
            println!("{}", numbers.iter().fold(0.0, |total, number| total + number));
        }
        "echo" => {
            let text: Value = input()?;
            println!("{text}");
        }
        "busy" => return Ok(fail(1, "try again")),
        "never" => return Ok(fail(NEVER, "never again")),
        "say" => {
            (1..=3).for_each(|line| eprintln!("line {line}: grüße"));
            println!("3");
        }
        "babble" => println!("no JSON"),
        "quit" => return Ok(ExitCode::from(input::<u8>()?)),
        "panic" => panic!("as asked"),
        _ => return Ok(fail(NEVER, &format!("no task {task}"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn input<T: DeserializeOwned>() -> Result<T, Box<dyn Error>> {
    Ok(serde_json::from_str(&std::io::read_to_string(std::io::stdin())?)?)
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}
