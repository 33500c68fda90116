;; Large numbers, weak tables, strings and exceptions, with Guile Hoot.
(import (scheme base) (scheme char) (scheme write) (hoot hashtables) (hoot regexps))

(define (show . items)
  (for-each display items)
  (newline))

(define (factorial n)
  (let loop ((n n) (product 1))
    (if (zero? n) product (loop (- n 1) (* product n)))))

(define big (factorial 30))
(show "30! = " big)
(show "quotient " (quotient big (factorial 28)) ", remainder " (remainder big 1000007))
(show "gcd " (gcd big (expt 2 40)) ", modulo " (modulo (- big) 97))
(show "exact " (exact 1e20) ", inexact " (inexact (factorial 20)))
(show "less " (< big (* big 2)) (= big (factorial 30)) (> 1.5e40 big))
(show "text " (string->number "-123456789012345678901234567890") " "
      (number->string (expt 3 50) 16))

(define table (make-weak-key-hashtable))
(define keys (map (lambda (i) (list i)) '(1 2 3)))
(for-each (lambda (key) (weak-key-hashtable-set! table key (* 10 (car key)))) keys)
(show "weak " (map (lambda (key) (weak-key-hashtable-ref table key #f)) keys)
      (weak-key-hashtable-ref table (list 4) 'none))

(define (matched pattern text)
  (let ((found (regexp-exec (make-regexp pattern) text)))
    (and found (regexp-match-substring found 1))))
(show "matched " (matched "([0-9]+)-" "tel. 030-123") " " (matched "^(x)" "abc"))

(show "string " (string-upcase "strasse äöü") " " (string-length "naïve λ"))
(show "caught "
      (guard (e ((symbol? e) (list 'symbol e))
                ((error-object? e) (error-object-message e)))
        (let loop ((i 0) (list '()))
          (if (= i 20000) (error "enough" i) (loop (+ i 1) (cons i list))))))
(show "input " (read-line) " " (eof-object? (read-line)))
(flush-output-port)
