// Classes, arrays and maps, with AssemblyScript, which has a collector of its own in linear memory.
class Node {
  constructor(public value: i32, public next: Node | null) {}
}

export function list(n: i32): i32 {
  let head: Node | null = null;
  for (let i = 0; i < n; i++) head = new Node(i, head);
  let sum = 0;
  while (head) {
    sum += head.value;
    head = head.next;
  }
  return sum;
}

export function words(n: i32): i32 {
  const map = new Map<string, i32>();
  for (let i = 0; i < n; i++) {
    const word = "w" + (i % 17).toString();
    map.set(word, (map.has(word) ? map.get(word) : 0) + 1);
  }
  return map.size * 1000 + map.get("w3");
}

export function half(x: f64): f64 {
  return Math.sqrt(x) / 2.0;
}

export function fails(n: i32): i32 {
  if (n > 3) throw new Error("more than three");
  return n;
}
