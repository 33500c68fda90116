//! Loads of words that stay the same in a loop are made before it.
//!
//! These are the heap's base, the bases and lengths of tables and memories, and what emitted code reads
//! of the heap data and the store context. Cranelift moves only loads of words that never change. The
//! host changes these, but it does so in calls. A region has the same [version](super::versions)
//! everywhere in a loop in which there is no call and no store to it.
//!
//! The loads are made where the loop is entered, even if the loop might not make them. This is allowed
//! because the vmctx and the [structures](regions::is_structure) that it points to are always there.
//! Later `loads` removes those in the loop.

use super::versions::Versions;
use crate::regions;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::{EntityRef, EntitySet};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{
    self, AliasRegion, ArgumentPurpose, Block, Inst, InstBuilder, InstructionData, MemFlags,
    Opcode, Type, Value, types,
};
use std::cmp::Reverse;
use std::collections::HashMap;

/// The most loads that are made before one loop. More would take the loop's registers.
const MOST: usize = 4;

/// The blocks and instructions of loops that are visited, for each one of the function. An instruction
/// in nested loops is visited once for each of them.
const VISITS: usize = 8;

/// A word at a constant place in the vmctx, or in something that the vmctx points to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Word {
    region: AliasRegion,
    /// The word that holds the address, or the vmctx.
    base: Option<(AliasRegion, i32)>,
    offset: i32,
    ty: Type,
}

/// Makes loads before the loops of `func`.
pub(super) fn hoist(
    func: &mut ir::Function,
    cfg: &ControlFlowGraph,
    tree: &DominatorTree,
    versions: &Versions,
) {
    let Some(vmctx) = func.special_param(ArgumentPurpose::VMContext) else { return };
    let heads: Vec<Block> = tree.cfg_rpo().copied().collect();
    let mut left = VISITS * (heads.len() + func.dfg.num_insts());
    for head in heads {
        let Some((entry, back)) = edges(cfg, tree, head) else { continue };
        if func.dfg.insts[entry.1].opcode().is_call() {
            continue;
        }
        let (Some(before), Some(at_head)) = (end_of(func, versions, entry.0), versions.at(head))
        else {
            continue;
        };
        let same = |region: AliasRegion| before[region.index()] == at_head[region.index()];
        if !(0..before.len()).any(|region| same(AliasRegion::new(region))) {
            continue;
        }
        let Some(blocks) = body(func, cfg, head, &back, &mut left) else { return };
        let found = words(func, &blocks, vmctx, same);
        make(func, entry.1, vmctx, &found);
    }
}

/// The block and the branch by which the loop with this head is entered, and the blocks that go back to
/// it. `None` if it is no loop, or is entered in several places.
fn edges(
    cfg: &ControlFlowGraph,
    tree: &DominatorTree,
    head: Block,
) -> Option<((Block, Inst), Vec<Block>)> {
    let (mut entry, mut back) = (None, Vec::new());
    for edge in cfg.pred_iter(head).filter(|edge| tree.is_reachable(edge.block)) {
        if tree.block_dominates(head, edge.block) {
            back.push(edge.block);
        } else if entry.replace((edge.block, edge.inst)).is_some() {
            return None;
        }
    }
    if back.is_empty() { None } else { Some((entry?, back)) }
}

/// The blocks of the loop with this head. `None` if more than the visits that are `left` are needed.
fn body(
    func: &ir::Function,
    cfg: &ControlFlowGraph,
    head: Block,
    back: &[Block],
    left: &mut usize,
) -> Option<Vec<Block>> {
    let mut seen: EntitySet<Block> = EntitySet::new();
    seen.insert(head);
    let mut found = vec![head];
    let mut work = back.to_vec();
    while let Some(block) = work.pop() {
        if seen.insert(block) {
            let insts = func.layout.block_insts(block).count();
            *left = left.checked_sub(1 + insts)?;
            found.push(block);
            work.extend(cfg.pred_iter(block).map(|edge| edge.block));
        }
    }
    Some(found)
}

/// The versions at the end of `block`.
fn end_of(func: &ir::Function, versions: &Versions, block: Block) -> Option<Vec<u32>> {
    let mut now = versions.at(block)?.to_vec();
    func.layout.block_insts(block).for_each(|inst| versions.apply(func, inst, &mut now));
    Some(now)
}

/// The words that these blocks load, in regions that are the `same` everywhere in the loop. A word
/// comes after the one that holds its address. Words that only cold blocks load are left out.
fn words(
    func: &ir::Function,
    blocks: &[Block],
    vmctx: Value,
    same: impl Fn(AliasRegion) -> bool,
) -> Vec<(Word, MemFlags)> {
    let dfg = &func.dfg;
    let word = |inst: Inst| -> Option<(Word, MemFlags)> {
        let InstructionData::Load { opcode: Opcode::Load, arg, flags, offset } = dfg.insts[inst]
        else {
            return None;
        };
        let data = dfg.mem_flags[flags];
        let region = data.alias_region().filter(|region| same(*region))?;
        let valid = data.trap_code().is_none() && data.explicit_endianness().is_none();
        let ty = dfg.value_type(dfg.first_result(inst));
        let is_structure =
            |region: AliasRegion| regions::is_structure(dfg.alias_regions[region].user_id);
        (valid && ty.is_int() && is_structure(region)).then_some(())?;
        let (base, offset) = if dfg.resolve_aliases(arg) == vmctx {
            (None, i32::from(offset))
        } else {
            let pointer = dfg.value_def(dfg.resolve_aliases(arg)).inst()?;
            let InstructionData::Load { opcode: Opcode::Load, arg, flags, offset: at } =
                dfg.insts[pointer]
            else {
                return None;
            };
            let of_vmctx = dfg.mem_flags[flags].alias_region()?;
            let is_pointer = same(of_vmctx) && dfg.resolve_aliases(arg) == vmctx;
            let is_inside = is_pointer && is_structure(of_vmctx);
            is_inside.then_some((Some((of_vmctx, at.into())), offset.into()))?
        };
        Some((Word { region, base, offset, ty }, flags))
    };
    let warm = blocks.iter().filter(|block| !func.layout.is_cold(**block));
    let warm: Vec<Inst> = warm.flat_map(|block| func.layout.block_insts(*block)).collect();
    let mut found: HashMap<Word, LoadedWord> = HashMap::new();
    let mut loaded: HashMap<Value, Word> = HashMap::new();
    for &inst in &warm {
        if let Some((word, flags)) = word(inst) {
            let next = found.len();
            let place = LoadedWord { flags, place: next, loads: 0, tests_only: true };
            found.entry(word).or_insert(place).loads += 1;
            loaded.insert(dfg.first_result(inst), word);
        }
    }
    for inst in warm.iter().filter(|inst| !is_test(dfg.insts[**inst].opcode())) {
        for value in dfg.inst_values(*inst) {
            let word = loaded.get(&dfg.resolve_aliases(value));
            if let Some(found) = word.and_then(|word| found.get_mut(word)) {
                found.tests_only = false;
            }
        }
    }
    let mut words: Vec<(Word, LoadedWord)> = found.into_iter().collect();
    words.sort_by_key(|(word, found)| {
        (found.tests_only, word.base.is_some(), Reverse(found.loads), found.place)
    });
    words.truncate(MOST);
    // Those that hold addresses come first.
    words.sort_by_key(|(word, found)| (word.base.is_some(), found.place));
    words.into_iter().map(|(word, found)| (word, found.flags)).collect()
}

/// What is known of a word that a loop loads.
struct LoadedWord {
    flags: MemFlags,
    /// How many other words were found before.
    place: usize,
    /// How often it is loaded.
    loads: usize,
    /// Whether it is only tested, which most instructions can do where it is.
    tests_only: bool,
}

fn is_test(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::Icmp | Opcode::Brif | Opcode::Trapz | Opcode::Trapnz)
}

/// Loads these words before the branch `entry`.
fn make(func: &mut ir::Function, entry: Inst, vmctx: Value, words: &[(Word, MemFlags)]) {
    let location = func.srcloc(entry);
    let mut pointers: HashMap<(AliasRegion, i32), Value> = HashMap::new();
    for (word, flags) in words {
        let base = match word.base {
            None => vmctx,
            Some(base) => match pointers.get(&base) {
                Some(pointer) => *pointer,
                // The address is not loaded before the loop.
                None => continue,
            },
        };
        let flags = func.dfg.mem_flags[*flags];
        let mut cursor = FuncCursor::new(func).at_inst(entry).with_srcloc(location);
        let value = cursor.ins().load(word.ty, flags, base, word.offset);
        if word.base.is_none() && word.ty == types::I64 {
            pointers.insert((word.region, word.offset), value);
        }
    }
}
