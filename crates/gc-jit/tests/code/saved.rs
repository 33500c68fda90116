//! Tests of images that are saved and read again, and of the errors.

use crate::common::*;
use cranelift_codegen::ir::{InstBuilder, types};
use gc_compiler::{ImageLinker, call_signature};
use gc_jit::{CodeMemory, SavedImage, save};
use gc_types::{CodeImage, HeapBounds, Machine, Processor, Section, ValRaw};
use std::sync::Arc;

/// `f0(a, b) = a + b`.
fn image() -> CodeImage {
    let signature = signature(&[types::I32, types::I32], &[types::I32]);
    let function = compile(&compiler(), signature, |b, params| {
        let sum = b.ins().iadd(params[1], params[2]);
        b.ins().return_(&[sum]);
    });
    link(vec![function], &[])
}

fn error(bytes: &[u8], abi: &gc_types::Abi) -> String {
    format!("{:#}", SavedImage::from_bytes(bytes, &Arc::new(abi.clone())).unwrap_err())
}

/// `bytes` with `from`, which occurs once, replaced by `to`, and with a correct checksum.
fn forged(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let at: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from.as_bytes()))
        .collect();
    assert_eq!(at.len(), 1, "{from}");
    bytes[at[0]..at[0] + to.len()].copy_from_slice(to.as_bytes());
    let end = bytes.len() - 4;
    let checksum = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn a_saved_image_does_what_it_did() {
    let image = image();
    let bytes = save(&image, b"mine").unwrap();
    assert_eq!(save(&image, b"mine").unwrap(), bytes, "the same image makes the same bytes");
    assert!(gc_jit::is_saved(&bytes));
    let saved = SavedImage::from_bytes(&bytes, &Arc::new(abi(&[]))).unwrap();
    for section in Section::ALL {
        assert_eq!(saved.image().section(section), image.section(section), "{section:?}");
    }
    let (embedder, range) = saved.embedder();
    assert_eq!(&(*embedder).as_ref()[range], b"mine");
    let signature = signature(&[types::I32, types::I32], &[types::I32]);
    let path = std::env::temp_dir().join(format!("gc-jit-saved-{}", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    // SAFETY: only this test uses the file.
    let mapped = unsafe { SavedImage::open(&path, &Arc::new(abi(&[]))) };
    std::fs::remove_file(&path).unwrap();
    for saved in [saved, mapped.unwrap()] {
        let code = saved.publish(&[]).unwrap();
        assert!(code.entry_trampoline(&call_signature(&signature).unwrap()).is_some());
        let args = [ValRaw::i32(40), ValRaw::i32(2)];
        let results = fixture().call(&code, 0, &signature, &args).unwrap();
        assert_eq!(i32s(&results), [42]);
    }
}

#[test]
fn code_for_something_else_is_refused_and_the_difference_named() {
    let abi = abi(&[]);
    let bytes = save(&image(), b"").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let fit =
        "the saved code does not fit this engine (here: this engine; there: the saved code): ";
    let other = forged(&bytes, &format!("version: {version}\n"), "version: 9.9.9\n");
    assert_eq!(error(&other, &abi), format!("{fit}version is `{version}` here, but `9.9.9` there"));
    let other = forged(&bytes, "collector: null\n", "collector: lull\n");
    assert_eq!(error(&other, &abi), format!("{fit}collector is `null` here, but `lull` there"));
    let checked = abi.clone().with_bounds(HeapBounds::Checked);
    assert_eq!(
        error(&bytes, &checked),
        format!("{fit}heap.bounds is `checked` here, but `guarded` there")
    );
    let host = Machine::host();
    for processor in Processor::ALL.into_iter().filter(|it| it.name() != host.arch()) {
        let other =
            abi.clone().with_machine(Machine::new(processor.name(), host.system().to_owned()));
        let (here, there) = (processor.name(), host.arch());
        assert_eq!(
            error(&bytes, &other),
            format!("{fit}machine is `{here}-linux` here, but `{there}-linux` there")
        );
    }
    let old = abi.clone().with_machine(host.clone().with_features([]));
    if host.features().next().is_some() {
        let error = error(&bytes, &old);
        assert!(error.starts_with(&format!("{fit}machine.features has no `")), "{error}");
    }
    let grown = abi.with_collector(gc_types::CollectorAbi::new("null").with("nursery", 7));
    assert_eq!(
        error(&bytes, &grown),
        format!("{fit}collector.nursery is `7` here, and nothing there")
    );
}

#[test]
fn what_is_no_saved_image_is_refused() {
    let abi = Arc::new(abi(&[]));
    let bytes = save(&image(), b"").unwrap();
    assert_eq!(error(b"", &abi), "not a saved image: too short");
    assert_eq!(
        error(&[0; 100], &abi),
        "not a saved image, or not a whole one: the trailer is missing"
    );
    // SAFETY: a folder is not mapped.
    let folder = unsafe { SavedImage::open(&std::env::temp_dir(), &abi) };
    let refused = format!("{:#}", folder.unwrap_err());
    assert!(refused.ends_with(": not a regular file"), "{refused}");
    let other = forged(&bytes, "reclaim image 05", "reclaim image 04");
    assert_eq!(error(&other, &abi), "a saved image of format `04`, where this reads `05`");
    let mut longer = bytes[..64].to_vec();
    longer.extend_from_slice(&bytes);
    let message =
        format!("a damaged saved image: it has {} bytes and says {}", longer.len(), bytes.len());
    assert_eq!(error(&longer, &abi), message);
    for cut in [1, 28, 29, bytes.len() / 2] {
        assert!(SavedImage::from_bytes(&bytes[..bytes.len() - cut], &abi).is_err());
    }
}

#[test]
fn tables_that_lie_are_refused_although_the_checksum_fits() {
    let image = image();
    let bytes = save(&image, b"").unwrap();
    let mut refused = 0;
    for section in Section::ALL.into_iter().filter(|section| *section != Section::Text) {
        let table = image.section(section);
        if table.len() < 8 {
            continue;
        }
        let at = bytes.windows(table.len()).position(|bytes| bytes == table).unwrap();
        for i in 0..table.len() {
            let mut bytes = bytes.clone();
            bytes[at + i] ^= 0x80;
            let end = bytes.len() - 4;
            let checksum = crc32fast::hash(&bytes[..end]);
            bytes[end..].copy_from_slice(&checksum.to_le_bytes());
            // All queries of an accepted image work.
            match SavedImage::from_bytes(&bytes, &Arc::new(abi(&[]))) {
                Err(_) => refused += 1,
                Ok(saved) => ask(saved.image()),
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn code_with_type_indices_of_an_engine_is_only_for_that_engine() {
    let five = compile(&compiler(), signature(&[], &[types::I64]), |builder, params| {
        builder.ins().return_(&params[..1]);
    });
    let mut linker = ImageLinker::new();
    linker.define(0, "f0".to_owned(), five).unwrap();
    let engine = Arc::new(compiler().abi().clone());
    linker.made_for(&engine);
    let image = linker.link(&compiler()).unwrap();
    assert!(!image.is_portable());
    CodeMemory::publish(image.clone(), &engine, &[]).unwrap();
    let another = Arc::new(compiler().abi().clone());
    let error = CodeMemory::publish(image.clone(), &another, &[]).unwrap_err().to_string();
    assert!(error.contains("another engine"), "{error}");
    let error = save(&image, b"").unwrap_err().to_string();
    assert!(error.contains("type indices of its engine"), "{error}");
}

/// Makes all queries of an image. None of them may panic.
fn ask(image: &CodeImage) {
    for offset in 0..image.code().len() as u32 + 1 {
        let _ =
            (image.function_at(offset), image.trap_at(offset), image.sources_at(offset).count());
        let _ = image.stack_maps().lookup(offset).map(|map| map.slots().count());
    }
    image.functions().for_each(drop);
    image.handlers().for_each(drop);
    image.type_words().for_each(drop);
    for signature in image.signatures() {
        let _ = (image.entry(&signature), image.exit(&signature));
    }
}
