//! Calls that use tables.

use super::driver::{Driver, Fault, ended};
use super::host::{MOST, TABLE_LIMIT};
use super::ops::Op;
use super::world::{Handle, KnownTable, World, index, pick};
use crate::value::Referent;
use anyhow::{Result, ensure};

/// The numbers of elements and indices are below this.
const MOST_ELEMENTS: u8 = 40;
/// The places and lengths of fills and copies are below this.
const MOST_COPIED: u8 = 20;

impl<A: Driver> World<A> {
    /// A call with a table.
    pub(super) fn table_call(&mut self, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        match op {
            Op::NewTable { len, from, external } => self.new_table(cx, len, from, external),
            Op::TableGet { table, index } => self.table_get(cx, table, index),
            Op::TableSet { table, index, from } => self.table_set(cx, table, index, from),
            Op::TableGrow { table, delta, from } => self.table_grow(cx, table, delta, from),
            Op::TableFill { table, at, len, from } => self.table_fill(cx, table, at, len, from),
            Op::TableCopy { to, from, at, start, len } => {
                let (at, start, len) = (at % MOST_COPIED, start % MOST_COPIED, len % MOST_COPIED);
                self.table_copy(cx, [to, from], at.into(), start.into(), len.into())
            }
            _ => Ok(()),
        }
    }

    fn new_table(&mut self, cx: &mut A::Cx<'_>, len: u8, from: u8, external: u8) -> Result<()> {
        if self.tables.len() >= MOST || !A::is_open(&self.own) {
            return Ok(());
        }
        let (external, len) = (external % 2 == 1, usize::from(len % MOST_ELEMENTS));
        let init = self.given(from);
        let new = A::new_table(cx, &self.own, len as u32, init.to_place(external));
        if let Some(table) = ended::<A, _>(new, len <= TABLE_LIMIT, Fault::TableLimit)? {
            self.tables.push(KnownTable { table, elements: vec![init.value; len], external });
        }
        Ok(())
    }

    /// A table, and a handle that goes there.
    fn table_and_handle(&mut self, table: u8, from: u8) -> Option<(&mut KnownTable<A>, Handle<A>)> {
        let i = pick(&self.tables, table)?;
        let new = self.given(from);
        Some((&mut self.tables[i], new))
    }

    fn table_get(&mut self, cx: &mut A::Cx<'_>, table: u8, at: u8) -> Result<()> {
        let Some(i) = pick(&self.tables, table) else { return Ok(()) };
        let KnownTable { table, elements, .. } = &self.tables[i];
        let size = A::table_size(cx, table)?;
        ensure!(size == elements.len() as u64, "{size} elements instead of {}", elements.len());
        let at = index(at, elements.len(), MOST_ELEMENTS);
        let expected = elements.get(at).copied();
        let read = A::table_get(cx, table, at as u32);
        match (ended::<A, _>(read, expected.is_some(), Fault::NoElement)?, expected) {
            (Some(read), Some(expected)) => self.found(cx, read, expected),
            _ => Ok(()),
        }
    }

    fn table_set(&mut self, cx: &mut A::Cx<'_>, table: u8, at: u8, from: u8) -> Result<()> {
        let Some((known, new)) = self.table_and_handle(table, from) else { return Ok(()) };
        let at = index(at, known.elements.len(), MOST_ELEMENTS);
        let set = A::table_set(cx, &known.table, at as u32, new.to_place(known.external));
        if ended::<A, _>(set, at < known.elements.len(), Fault::TableIndex)?.is_some() {
            known.elements[at] = new.value;
        }
        Ok(())
    }

    fn table_grow(&mut self, cx: &mut A::Cx<'_>, table: u8, delta: u8, from: u8) -> Result<()> {
        let Some((known, new)) = self.table_and_handle(table, from) else { return Ok(()) };
        let (old, delta) = (known.elements.len(), usize::from(delta % 16));
        let grown = A::table_grow(cx, &known.table, delta as u32, new.to_place(known.external));
        let possible = old + delta <= TABLE_LIMIT;
        if let Some(before) = ended::<A, _>(grown, possible, Fault::TableGrowth)? {
            ensure!(before == old as u64, "{before} elements instead of {old}");
            known.elements.resize(old + delta, new.value);
        }
        Ok(())
    }

    fn table_fill(
        &mut self,
        cx: &mut A::Cx<'_>,
        table: u8,
        at: u8,
        len: u8,
        from: u8,
    ) -> Result<()> {
        let Some((known, new)) = self.table_and_handle(table, from) else { return Ok(()) };
        let (at, len) = (at % MOST_COPIED, len % MOST_COPIED);
        let places = known.elements.get_mut(usize::from(at)..usize::from(at + len));
        let given = new.to_place(known.external);
        let filled = A::table_fill(cx, &known.table, at.into(), len.into(), given);
        let Some(filled) = filled else { return Ok(()) };
        if ended::<A, _>(filled, places.is_some(), Fault::TableIndex)?.is_some()
            && let Some(places) = places
        {
            places.fill(new.value);
        }
        Ok(())
    }

    fn table_copy(
        &mut self,
        cx: &mut A::Cx<'_>,
        [to, from]: [u8; 2],
        at: usize,
        start: usize,
        len: usize,
    ) -> Result<()> {
        let (Some(to), Some(from)) = (pick(&self.tables, to), pick(&self.tables, from)) else {
            return Ok(());
        };
        let (first, second) = (&self.tables[to], &self.tables[from]);
        let values = second.elements.get(start..start + len).map(<[Referent]>::to_vec);
        let fits = values.is_some() && at + len <= first.elements.len();
        let same = first.external == second.external;
        let fault = if same { Fault::TableIndex } else { Fault::TableTypes };
        let (first, second) = ((&first.table, at as u32), (&second.table, start as u32));
        let Some(copied) = A::table_copy(cx, first, second, len as u32) else { return Ok(()) };
        if ended::<A, _>(copied, same && fits, fault)?.is_some()
            && let Some(values) = values
        {
            self.tables[to].elements[at..at + len].copy_from_slice(&values);
        }
        Ok(())
    }
}
