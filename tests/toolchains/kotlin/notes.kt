// Data classes, generic and sealed types, collections, exceptions, sequences, regular expressions,
// standard input, and the exit status, which is a function of WASI. `digest` is an exported function.
@file:OptIn(ExperimentalWasmInterop::class)

import kotlin.random.Random
import kotlin.wasm.ExperimentalWasmInterop
import kotlin.wasm.WasmExport
import kotlin.wasm.WasmImport

@WasmImport("wasi_snapshot_preview1", "proc_exit")
private external fun procExit(code: Int)

data class Note(val title: String, val weight: Int, val tags: Set<String> = emptySet())

sealed interface Shape {
    data class Circle(val radius: Double) : Shape
    data class Box(val width: Double, val height: Double) : Shape
    data object Point : Shape
}

fun area(shape: Shape): Double = when (shape) {
    is Shape.Circle -> kotlin.math.PI * shape.radius * shape.radius
    is Shape.Box -> shape.width * shape.height
    Shape.Point -> 0.0
}

class TooHeavy(val note: Note) : Exception("${note.title} weighs ${note.weight}")

fun weigh(note: Note, log: StringBuilder): Int = try {
    if (note.weight > 90) throw TooHeavy(note)
    note.weight
} catch (error: TooHeavy) {
    log.append(error.message).append("; ")
    0
} finally {
    log.append('.')
}

fun <T, K : Comparable<K>> Iterable<T>.grouped(key: (T) -> K): List<Pair<K, List<T>>> =
    groupBy(key).toList().sortedBy { it.first }

val fibonacci = sequence {
    var pair = 0L to 1L
    while (true) {
        yield(pair.first)
        pair = pair.second to pair.first + pair.second
    }
}

/** A number that depends on `count` notes, most of which are garbage at once. */
@WasmExport
fun digest(count: Int): Int {
    val random = Random(count)
    val kept = HashMap<String, Note>()
    val log = StringBuilder()
    for (i in 0 until count) {
        val note = Note("note ${i % 50}", random.nextInt(100), setOf("tag${i % 7}", "tag${i % 3}"))
        kept[note.title] = note.copy(weight = weigh(note, log))
    }
    return kept.values.grouped { it.tags.joinToString() }.fold(log.length) { sum, (tags, notes) ->
        31 * sum + tags.length + notes.sumOf { it.weight }
    }
}

fun main() {
    val lines = generateSequence(::readlnOrNull).filter { it.isNotBlank() }.toList()
    println("lines: ${lines.map { it.uppercase().reversed() }}")
    val date = Regex("""(\d{4})-(\d\d)-(\d\d)""")
    println("dates: " + lines.mapNotNull { date.find(it)?.destructured?.let { (y, m, d) -> "$d.$m.$y" } })
    println("fibonacci: ${fibonacci.filter { it % 2 == 0L }.take(20).last()}")
    val shapes = listOf(Shape.Circle(1.5), Shape.Box(2.0, 0.25), Shape.Point)
    println(shapes.associateWith(::area))
    val failed = runCatching { listOf(1, 2, 3)[lines.size + 3] }.exceptionOrNull()
    println("failed: ${failed is IndexOutOfBoundsException}, ${runCatching { "x1".toInt() }.isFailure}")
    println("cast: ${runCatching { (lines as Any) as String }.exceptionOrNull() is ClassCastException}")
    println("digest: ${digest(200)}")
    if (lines.isEmpty()) procExit(7)
}
