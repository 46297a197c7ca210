; Script-Fu: what is in a PSD, as lines of `facts`, and each layer's pixels and mask as PNG files beside it.
; Masks are linear in GIMP and sRGB in the file, with 16 bits.
; A line: depth group? visible? x y width height mask? number name

(define (save-alone drawable precision type path)
  (let* ((image (car (gimp-image-new-with-precision
                       (car (gimp-drawable-width drawable)) (car (gimp-drawable-height drawable)) type precision)))
         (layer (car (gimp-layer-new-from-drawable drawable image))))
    (gimp-image-insert-layer image layer 0 0)
    (gimp-layer-set-offsets layer 0 0)
    (gimp-item-set-visible layer TRUE)
    (file-png-save RUN-NONINTERACTIVE image layer path path 0 1 0 0 0 0 0)
    (gimp-image-delete image)))

(define (tell port . values)
  (for-each (lambda (value) (display value port) (display " " port)) values))

(define (read-items items depth precision folder port number)
  (if (null? items)
      number
      (let* ((item (car items))
             (group? (= TRUE (car (gimp-item-is-group item))))
             (mask (car (gimp-layer-get-mask item)))
             (masked? (> mask 0))
             (place (gimp-drawable-offsets item))
             (file (lambda (kind) (string-append folder "/" (number->string number) "-" kind ".png"))))
        (tell port depth (if group? 1 0) (car (gimp-item-get-visible item)) (car place) (cadr place)
              (car (gimp-drawable-width item)) (car (gimp-drawable-height item)) (if masked? 1 0) number)
        (display (car (gimp-item-get-name item)) port)
        (newline port)
        (if masked? (save-alone mask PRECISION-U16-GAMMA GRAY (file "mask")))
        (if masked? (gimp-layer-remove-mask item MASK-DISCARD))
        (if (not group?) (save-alone item precision RGB (file "pixels")))
        (let ((next (if group?
                        (read-items (vector->list (cadr (gimp-item-get-children item)))
                                    (+ depth 1) precision folder port (+ number 1))
                        (+ number 1))))
          (read-items (cdr items) depth precision folder port next)))))

(define (read-psd path folder)
  (let* ((image (car (gimp-file-load RUN-NONINTERACTIVE path path)))
         (port (open-output-file (string-append folder "/facts"))))
    (tell port (car (gimp-image-width image)) (car (gimp-image-height image)) (car (gimp-image-get-resolution image)))
    (newline port)
    (read-items (vector->list (cadr (gimp-image-get-layers image))) 0
                (car (gimp-image-get-precision image)) folder port 0)
    (close-output-port port)))
