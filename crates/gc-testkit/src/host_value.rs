//! Host values that report their own death: a [`Ledger`] issues numbered
//! [`Token`]s and counts how often each was dropped.

use anyhow::{Result, ensure};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts how often each token was dropped, by number. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Vec<u32>>>);

impl Ledger {
    /// Makes a new token.
    pub fn issue(&self) -> Token {
        let mut drops = self.drops();
        drops.push(0);
        Token { number: drops.len() as u32 - 1, ledger: self.clone() }
    }

    /// The number of tokens issued. The next token gets this number.
    pub fn issued(&self) -> u32 {
        self.drops().len() as u32
    }

    /// The number of times that the token `number` was dropped.
    pub fn times_dropped(&self, number: u32) -> u32 {
        self.drops().get(number as usize).copied().unwrap_or(0)
    }

    /// The number of tokens that were issued and not dropped yet.
    pub fn alive(&self) -> u32 {
        self.drops().iter().filter(|&&drops| drops == 0).count() as u32
    }

    /// Checks that no token was dropped twice.
    ///
    /// # Errors
    /// The first token that was.
    pub fn check_none_twice(&self) -> Result<()> {
        let drops = self.drops();
        let twice = drops.iter().position(|&drops| drops > 1);
        ensure!(twice.is_none(), "host value {} was dropped more than once", twice.unwrap_or(0));
        Ok(())
    }

    /// Checks that every token was dropped exactly once.
    ///
    /// # Errors
    /// The first token that was not.
    pub fn check_all_once(&self) -> Result<()> {
        let drops = self.drops();
        match drops.iter().position(|&drops| drops != 1) {
            None => Ok(()),
            Some(number) => {
                anyhow::bail!("host value {number} was dropped {} times", drops[number])
            }
        }
    }

    fn drops(&self) -> MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host value for an externref.
#[derive(Debug)]
pub struct Token {
    number: u32,
    ledger: Ledger,
}

impl Token {
    /// Its number in its ledger.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.drops()[self.number as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_counted() {
        let ledger = Ledger::default();
        let (a, b) = (ledger.issue(), ledger.issue());
        assert_eq!((a.number(), b.number(), ledger.issued(), ledger.alive()), (0, 1, 2, 2));
        drop(a);
        assert_eq!((ledger.times_dropped(0), ledger.times_dropped(1), ledger.alive()), (1, 0, 1));
        ledger.check_none_twice().unwrap();
        assert!(ledger.check_all_once().is_err());
        drop(b);
        ledger.check_all_once().unwrap();
        ledger.drops()[0] = 2;
        assert!(ledger.check_none_twice().is_err() && ledger.check_all_once().is_err());
    }
}
