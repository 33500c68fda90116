//! Collections, text, files and arguments, with Rust's `wasm32-wasip1`.

use std::collections::BTreeMap;
use std::io::Read;

fn main() {
    let mut text = String::new();
    match std::env::args().nth(1) {
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(read) => text = read,
            Err(error) => {
                eprintln!("{path}: {:?}", error.kind());
                std::process::exit(5);
            }
        },
        None => {
            std::io::stdin().read_to_string(&mut text).unwrap();
        }
    }
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    for word in text.split_whitespace() {
        *words.entry(word.to_lowercase()).or_default() += 1;
    }
    for (word, count) in &words {
        println!("{word}: {count}");
    }
    println!("{} words, {:?}", words.len(), std::env::var("GREETING"));
}
