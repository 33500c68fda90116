//! MoonBit's strings and lists, and what reads and writes them item by item. All of them are objects
//! in the heap of the program, so its limit counts them.

use crate::own_type::{own_array, own_struct};
use crate::strings::Strings;
use anyhow::{Context, Result, bail};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, Caller, Engine, ExternRef, Rooted, StructRef,
    StructRefPre, StructType, Trap, Val,
};
use std::sync::OnceLock;

/// A reference to a value of the host, as programs pass it.
pub(super) type HostRef = Option<Rooted<ExternRef>>;

/// The types, which are made when a program first needs one.
#[derive(Default)]
pub(super) struct Values(OnceLock<Types>);

/// What a list is a list of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Items {
    /// The code units of a string.
    Units,
    Bytes,
    Strings,
}

impl Items {
    fn list(self) -> &'static str {
        match self {
            Items::Units => "string",
            Items::Bytes => "list of bytes",
            Items::Strings => "list of strings",
        }
    }

    fn reader(self) -> &'static str {
        match self {
            Items::Units => "string reader",
            Items::Bytes => "byte reader",
            Items::Strings => "reader of strings",
        }
    }

    fn writer(self) -> &'static str {
        match self {
            Items::Units => "string writer",
            Items::Bytes => "byte writer",
            Items::Strings => "writer of strings",
        }
    }

    /// Bytes of an item that is a number.
    fn size(self) -> usize {
        if self == Items::Units { 2 } else { 1 }
    }
}

/// A list, a reader and a writer of each kind of items.
pub(super) struct Types {
    strings: Strings,
    bytes: ArrayType,
    texts: ArrayType,
    /// What a writer has written: more items than those that count.
    units_buffer: ArrayType,
    bytes_buffer: ArrayType,
    /// The list, and the number of items that were read.
    reader: StructType,
    /// The buffer, and the number of items that were written.
    writer: StructType,
}

/// The fields of readers and writers.
const LIST: usize = 0;
const COUNT: usize = 1;

/// Items for which a new writer has room.
const ROOM: u32 = 16;

impl Values {
    pub(super) fn types(&self, engine: &Engine) -> Result<&Types> {
        if let Some(types) = self.0.get() {
            return Ok(types);
        }
        let types = Types {
            strings: Strings::new(engine)?,
            bytes: own_array(engine, "(array i8)")?,
            texts: own_array(engine, "(array externref)")?,
            units_buffer: own_array(engine, "(array (mut i16))")?,
            bytes_buffer: own_array(engine, "(array (mut i8))")?,
            reader: own_struct(engine, "(struct (field (ref any)) (field (mut i32)))")?,
            writer: own_struct(engine, "(struct (field (mut (ref any))) (field (mut i32)))")?,
        };
        Ok(self.0.get_or_init(|| types))
    }
}

/// The internal reference, unless the value is null.
fn object<T: 'static>(caller: &Caller<'_, T>, value: HostRef) -> Result<Option<Rooted<AnyRef>>> {
    value.map(|value| AnyRef::convert_extern(caller, value)).transpose()
}

fn wrong<R>(what: &str) -> Result<R> {
    bail!("MoonBit's host got a value that is no {what}")
}

/// An object as programs get it.
fn give<T: 'static>(caller: &Caller<'_, T>, object: Rooted<AnyRef>) -> Result<HostRef> {
    ExternRef::convert_any(caller, object).map(Some)
}

impl Types {
    /// The type of a list.
    fn list_ty(&self, items: Items) -> &ArrayType {
        match items {
            Items::Units => self.strings.ty(),
            Items::Bytes => &self.bytes,
            Items::Strings => &self.texts,
        }
    }

    fn buffer_ty(&self, items: Items) -> &ArrayType {
        if items == Items::Units { &self.units_buffer } else { &self.bytes_buffer }
    }

    /// The array, if the value is one of this type.
    fn array<T: 'static>(
        &self,
        caller: &Caller<'_, T>,
        value: Option<Rooted<AnyRef>>,
        ty: &ArrayType,
    ) -> Result<Option<Rooted<ArrayRef>>> {
        let Some(array) = value.map(|value| value.as_array(caller)).transpose()?.flatten() else {
            return Ok(None);
        };
        Ok(array.matches_ty(caller, ty)?.then_some(array))
    }

    fn list<T: 'static>(
        &self,
        caller: &Caller<'_, T>,
        value: HostRef,
        items: Items,
    ) -> Result<Rooted<ArrayRef>> {
        match self.array(caller, object(caller, value)?, self.list_ty(items))? {
            Some(list) => Ok(list),
            None => wrong(items.list()),
        }
    }

    /// Whether the value is a list.
    pub(super) fn is<T: 'static>(
        &self,
        caller: &Caller<'_, T>,
        value: HostRef,
        items: Items,
    ) -> Result<bool> {
        Ok(self.array(caller, object(caller, value)?, self.list_ty(items))?.is_some())
    }

    /// The reader or writer, if the value is one of this type, and its list or buffer.
    fn cursor<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
        (ty, array_ty): (&StructType, &ArrayType),
    ) -> Result<Option<(Rooted<StructRef>, Rooted<ArrayRef>)>> {
        let cursor = object(caller, value)?.map(|value| value.as_struct(&*caller)).transpose()?;
        let Some(cursor) = cursor.flatten() else { return Ok(None) };
        if !cursor.matches_ty(&*caller, ty)? {
            return Ok(None);
        }
        let Val::AnyRef(array) = cursor.field(&mut *caller, LIST)? else { return Ok(None) };
        Ok(self.array(caller, array, array_ty)?.map(|array| (cursor, array)))
    }

    /// Makes a string.
    pub(super) fn new_string<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        text: &str,
    ) -> Result<HostRef> {
        let units: Vec<u16> = text.encode_utf16().collect();
        self.strings.make(caller, &units).map(Some)
    }

    /// The text of a string.
    pub(super) fn text<T: 'static>(
        &self,
        caller: &Caller<'_, T>,
        value: HostRef,
    ) -> Result<String> {
        self.list(caller, value, Items::Units)?;
        Ok(String::from_utf16_lossy(&self.strings.units(caller, value)?))
    }

    /// The bytes of a list of bytes.
    pub(super) fn bytes<T: 'static>(
        &self,
        caller: &Caller<'_, T>,
        value: HostRef,
    ) -> Result<Vec<u8>> {
        let list = self.list(caller, value, Items::Bytes)?;
        let count = list.len(caller)?;
        read(caller, &list, count, Items::Bytes)
    }

    /// Makes a list of bytes.
    pub(super) fn new_bytes<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        bytes: &[u8],
    ) -> Result<HostRef> {
        let allocator = ArrayRefPre::new(&mut *caller, self.bytes.clone());
        let list = ArrayRef::from_bytes(&mut *caller, &allocator, bytes)?;
        give(caller, list.to_anyref())
    }

    /// Makes a list of strings.
    pub(super) fn new_strings<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        texts: &[String],
    ) -> Result<HostRef> {
        let strings = texts.iter().map(|text| self.new_string(caller, text).map(Val::ExternRef));
        let strings = strings.collect::<Result<Vec<_>>>()?;
        let allocator = ArrayRefPre::new(&mut *caller, self.texts.clone());
        let list = ArrayRef::new_fixed(&mut *caller, &allocator, &strings)?;
        give(caller, list.to_anyref())
    }

    /// The number of items of a list.
    pub(super) fn len<T: 'static>(
        &self,
        caller: &Caller<'_, T>,
        value: HostRef,
        items: Items,
    ) -> Result<u32> {
        self.list(caller, value, items)?.len(caller)
    }

    /// A string of a list.
    pub(super) fn string_at<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
        index: u32,
    ) -> Result<HostRef> {
        let list = self.list(caller, value, Items::Strings)?;
        if index >= list.len(&*caller)? {
            bail!("there is no string with this index");
        }
        match list.get(&mut *caller, index)? {
            Val::ExternRef(string) => Ok(string),
            _ => wrong("string"),
        }
    }

    /// Makes a reader of a list.
    pub(super) fn new_reader<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
        items: Items,
    ) -> Result<HostRef> {
        let list = self.list(caller, value, items)?.to_anyref();
        let fields = [Val::AnyRef(Some(list)), Val::I32(0)];
        let allocator = StructRefPre::new(&mut *caller, self.reader.clone());
        let reader = StructRef::new(&mut *caller, &allocator, &fields)?;
        give(caller, reader.to_anyref())
    }

    /// Moves a reader to its next item. Returns the list and the item's place in it, or `None` at
    /// the end.
    fn advance<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
        items: Items,
    ) -> Result<Option<(Rooted<ArrayRef>, u32)>> {
        let types = (&self.reader, self.list_ty(items));
        let Some((reader, list)) = self.cursor(caller, value, types)? else {
            return wrong(items.reader());
        };
        let at = count(caller, &reader)?;
        if at >= list.len(&*caller)? {
            return Ok(None);
        }
        reader.set_field(&mut *caller, COUNT, Val::I32(at as i32 + 1))?;
        Ok(Some((list, at)))
    }

    /// The next number of a list. `-1` means the end.
    pub(super) fn next<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
        items: Items,
    ) -> Result<i32> {
        let Some((list, at)) = self.advance(caller, value, items)? else { return Ok(-1) };
        let mut item = [0; 2];
        list.read_bytes(&*caller, at, &mut item[..items.size()])?;
        Ok(u16::from_le_bytes(item).into())
    }

    /// The next string of a list, or `None` at the end.
    pub(super) fn next_string<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
    ) -> Result<Option<HostRef>> {
        match self.advance(caller, value, Items::Strings)? {
            Some((list, at)) => match list.get(&mut *caller, at)? {
                Val::ExternRef(string) => Ok(Some(string)),
                _ => wrong("string"),
            },
            None => Ok(None),
        }
    }

    /// Makes a writer of a list of numbers.
    pub(super) fn new_writer<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        items: Items,
    ) -> Result<HostRef> {
        let allocator = ArrayRefPre::new(&mut *caller, self.buffer_ty(items).clone());
        let buffer = ArrayRef::new(&mut *caller, &allocator, &Val::I32(0), ROOM)?.to_anyref();
        let fields = [Val::AnyRef(Some(buffer)), Val::I32(0)];
        let allocator = StructRefPre::new(&mut *caller, self.writer.clone());
        let writer = StructRef::new(&mut *caller, &allocator, &fields)?;
        give(caller, writer.to_anyref())
    }

    fn writer<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
        items: Items,
    ) -> Result<(Rooted<StructRef>, Rooted<ArrayRef>)> {
        match self.cursor(caller, value, (&self.writer, self.buffer_ty(items)))? {
            Some(writer) => Ok(writer),
            None => wrong(items.writer()),
        }
    }

    /// Appends a number.
    pub(super) fn append<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
        items: Items,
        item: u32,
    ) -> Result<()> {
        let (writer, mut buffer) = self.writer(caller, value, items)?;
        let (at, room) = (count(caller, &writer)?, buffer.len(&*caller)?);
        if at >= room {
            let allocator = ArrayRefPre::new(&mut *caller, self.buffer_ty(items).clone());
            let room = room.checked_mul(2).ok_or(Trap::AllocationTooLarge)?;
            let larger = ArrayRef::new(&mut *caller, &allocator, &Val::I32(0), room)?;
            let written = read(caller, &buffer, at, items)?;
            larger.write_bytes(&mut *caller, 0, &written)?;
            writer.set_field(&mut *caller, LIST, Val::AnyRef(Some(larger.to_anyref())))?;
            buffer = larger;
        }
        buffer.write_bytes(&mut *caller, at, &item.to_le_bytes()[..items.size()])?;
        writer.set_field(&mut *caller, COUNT, Val::I32(at as i32 + 1))
    }

    /// Makes a list of what was written.
    pub(super) fn finish<T: 'static>(
        &self,
        caller: &mut Caller<'_, T>,
        value: HostRef,
        items: Items,
    ) -> Result<HostRef> {
        let (writer, buffer) = self.writer(caller, value, items)?;
        let count = count(caller, &writer)?;
        let written = read(caller, &buffer, count, items)?;
        let allocator = ArrayRefPre::new(&mut *caller, self.list_ty(items).clone());
        let list = ArrayRef::from_bytes(&mut *caller, &allocator, &written)?;
        give(caller, list.to_anyref())
    }
}

/// The number of items that were read or written.
fn count<T: 'static>(caller: &mut Caller<'_, T>, cursor: &Rooted<StructRef>) -> Result<u32> {
    let count = cursor.field(&mut *caller, COUNT)?.i32().context("the place of a reader")?;
    Ok(u32::try_from(count)?)
}

/// The bytes of the first items of a buffer.
fn read<T: 'static>(
    caller: &Caller<'_, T>,
    buffer: &Rooted<ArrayRef>,
    count: u32,
    items: Items,
) -> Result<Vec<u8>> {
    let count = count.min(buffer.len(caller)?);
    let mut bytes = vec![0; count as usize * items.size()];
    buffer.read_bytes(caller, 0, &mut bytes)?;
    Ok(bytes)
}
