//! Relays: handlers that stand for those of another call.
//!
//! A call with very many handlers lists the innermost ones and a relay, a block that throws the exception
//! again with a call that lists the others. So the number of edges stays proportional to the number of
//! calls. A relay must catch only what these others catch: else an exception that nobody catches would
//! be thrown again in the wrong place, and lose where it came from.
//!
//! In CLIF a relay has a number. The calls that list it have a handler with the tag [`tag_of_relay`]. The
//! call that throws again has one with the tag [`tag_of_throw`], which only marks it: it catches nothing,
//! and where it leads does not matter. [`link`] replaces the numbers by the return addresses of the
//! marked calls.

use anyhow::{Context as _, Result, ensure};
use cranelift_codegen::ir::{self, ExceptionTableItem, ExceptionTag};
use gc_types::{Catches, HandlerSite};
use std::collections::HashMap;

/// The bit of tags that belong to a relay.
const RELAY: u32 = 1 << 31;
/// The bit of tags that mark the call of a relay.
const THROW: u32 = 1 << 30;

/// The tag of the handler that is the relay with this number.
///
/// # Panics
/// If the number has more than 30 bits.
pub fn tag_of_relay(number: u32) -> ExceptionTag {
    assert!(number < THROW, "a function has fewer relays");
    ExceptionTag::from_u32(RELAY | number)
}

/// The tag that marks the call with which the relay with this number throws again. The call has no relay
/// of this number among its handlers.
///
/// # Panics
/// If the number has more than 30 bits.
pub fn tag_of_throw(number: u32) -> ExceptionTag {
    assert!(number < THROW, "a function has fewer relays");
    ExceptionTag::from_u32(RELAY | THROW | number)
}

/// Whether a function has relays. It cannot be inlined, because each copy would have the same numbers.
pub(crate) fn has_relays(func: &ir::Function) -> bool {
    let insts = func.layout.blocks().filter_map(|block| func.layout.last_inst(block));
    let tables = insts.filter_map(|inst| func.dfg.insts[inst].exception_table());
    let mut items = tables.flat_map(|table| func.dfg.exception_tables[table].items());
    items.any(|item| match item {
        ExceptionTableItem::Tag(tag, _) => tag.as_u32() & RELAY != 0,
        ExceptionTableItem::Default(_) | ExceptionTableItem::Context(_) => false,
    })
}

/// A call with handlers as Cranelift gives it: `None` as a tag catches everything.
pub(super) struct Site {
    pub(super) ret_addr: u32,
    pub(super) frame_offset: u32,
    pub(super) handlers: Vec<(Option<u32>, u32)>,
}

/// Replaces the numbers of relays, and leaves out what marks their calls.
///
/// # Errors
/// If a tag is too large, or a relay has not exactly one call that throws again.
pub(super) fn link(sites: Vec<Site>) -> Result<Vec<HandlerSite>> {
    let mut calls = HashMap::new();
    for site in &sites {
        for (tag, _) in &site.handlers {
            let Some(tag) = tag.filter(|tag| tag & RELAY != 0 && tag & THROW != 0) else {
                continue;
            };
            let before = calls.insert(tag & !THROW, site.ret_addr);
            ensure!(before.is_none(), "two calls throw for relay {}", tag & !(RELAY | THROW));
        }
    }
    let catches = |tag: Option<u32>| {
        Ok(match tag {
            None => Some(Catches::All),
            Some(tag) if tag & RELAY == 0 => Some(Catches::Tag(tag)),
            Some(tag) if tag & THROW != 0 => None,
            Some(tag) => {
                let call = calls.get(&tag);
                let call = call.with_context(|| format!("no call throws for {}", tag & !RELAY))?;
                Some(Catches::LikeCall(*call))
            }
        })
    };
    let site = |Site { ret_addr, frame_offset, handlers }: Site| {
        let handlers = handlers
            .into_iter()
            .filter_map(|(tag, at)| catches(tag).map(|catches| Some((catches?, at))).transpose());
        Ok(HandlerSite { ret_addr, frame_offset, handlers: handlers.collect::<Result<_>>()? })
    };
    sites.into_iter().map(site).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call with these handlers.
    fn site(ret_addr: u32, tags: &[u32]) -> Site {
        let handlers = tags.iter().map(|tag| (Some(*tag), 100 + ret_addr)).collect();
        Site { ret_addr, frame_offset: 16, handlers }
    }

    #[test]
    fn relays_refer_to_the_calls_that_throw_for_them() {
        let [relay, throw] = [tag_of_relay(7), tag_of_throw(7)].map(ExceptionTag::as_u32);
        let sites = link(vec![site(4, &[1, relay]), site(8, &[throw, 2])]).unwrap();
        let found: Vec<_> = sites.iter().map(|site| site.handlers.clone()).collect();
        assert_eq!(found[0], [(Catches::Tag(1), 104), (Catches::LikeCall(8), 104)]);
        assert_eq!(found[1], [(Catches::Tag(2), 108)]);

        let error = link(vec![site(4, &[1, relay])]).err().unwrap();
        assert_eq!(error.to_string(), "no call throws for 7");
        let error = link(vec![site(4, &[throw]), site(8, &[throw])]).err().unwrap();
        assert_eq!(error.to_string(), "two calls throw for relay 7");
    }
}
