(* Balanced trees, exceptions, text and arguments, with wasm_of_ocaml. *)
module Words = Map.Make (String)

exception Too_long of string * int

let count words =
  List.fold_left
    (fun map word ->
      let n = Option.value (Words.find_opt word map) ~default:0 in
      if n >= 1000 then raise (Too_long (word, n));
      Words.add word (n + 1) map)
    Words.empty words

let rec fib n = if n < 2 then n else fib (n - 1) + fib (n - 2)

let () =
  let args = List.tl (Array.to_list Sys.argv) in
  Printf.printf "args: %s\n" (String.concat "," args);
  let words = List.init 3000 (fun i -> Printf.sprintf "w%d" (i * i mod 97)) in
  let map = count words in
  Printf.printf "words: %d, w4: %d\n" (Words.cardinal map) (Words.find "w4" map);
  (match count (List.init 2000 (fun _ -> "x")) with
   | _ -> print_endline "not reached"
   | exception Too_long (word, n) -> Printf.printf "too long: %s %d\n" word n);
  Printf.printf "fib 20 = %d, pi = %.6f, %Ld\n" (fib 20) (4.0 *. atan 1.0)
    (Int64.mul 3037000500L 3037000500L);
  let buffer = Buffer.create 16 in
  for i = 1 to 20000 do Buffer.add_char buffer (Char.chr (97 + (i mod 26))) done;
  Printf.printf "digest: %s\n" (Digest.to_hex (Digest.string (Buffer.contents buffer)));
  (try
     while true do Printf.printf "line: %s\n" (String.uppercase_ascii (input_line stdin)) done
   with End_of_file -> print_endline "end");
  exit 3
