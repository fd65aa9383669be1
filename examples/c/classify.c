/* Classifies JPEG files: classify WEIGHTS IMAGE...
 *
 * cargo rustc --release --lib --features capi --crate-type cdylib
 * cc -Iinclude examples/c/classify.c -o classify -Ltarget/release -ldctflow
 */
#include <stdio.h>
#include <stdlib.h>

#include "dctflow.h"

static void check(dctflow_code_t code) {
    if (code != DCTFLOW_CODE_OK) {
        fprintf(stderr, "error: %s\n", dctflow_message());
        exit(1);
    }
}

/* Adds a file to the batch, with its index as the tag. */
static void push_file(dctflow_batch_t *batch, const char *path, uint64_t tag) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    uint8_t *bytes = NULL;
    size_t len = 0, capacity = 0;
    do {
        if (len == capacity) {
            capacity = capacity == 0 ? 1 << 16 : 2 * capacity;
            bytes = realloc(bytes, capacity);
            if (bytes == NULL) {
                fprintf(stderr, "error: %s does not fit into memory\n", path);
                exit(1);
            }
        }
        len += fread(bytes + len, 1, capacity - len, file);
    } while (!feof(file) && !ferror(file));
    if (ferror(file)) {
        perror(path);
        exit(1);
    }
    fclose(file);
    check(dctflow_batch_push(batch, bytes, len, tag));
    free(bytes);
}

static void print_outcome(const char *path, const dctflow_outcome_t *outcome) {
    static const char *const status_names[] = {"complete", "partial", "failed"};
    printf("%s %s", path, status_names[outcome->status]);
    if (outcome->reason != NULL) {
        printf(" %s (%s)", outcome->reason, outcome->message);
    }
    for (size_t i = 0; i < outcome->num_top; i++) {
        printf(" class %u: %.4f", (unsigned)outcome->top_classes[i], outcome->top_scores[i]);
    }
    printf("\n");
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s WEIGHTS IMAGE...\n", argv[0]);
        return 2;
    }
    dctflow_options_t options = {.weights_path = argv[1], .device = "cpu", .topk = 3};
    dctflow_session_t *session;
    check(dctflow_session_new(&options, &session));

    dctflow_batch_t *batch = dctflow_batch_new();
    for (int i = 2; i < argc; i++) {
        push_file(batch, argv[i], (uint64_t)i);
    }
    dctflow_ticket_t *ticket;
    check(dctflow_submit(session, batch, &ticket));
    dctflow_batch_free(batch);

    dctflow_outcomes_t *outcomes;
    check(dctflow_wait(&ticket, &outcomes));
    for (size_t i = 0; i < dctflow_outcomes_len(outcomes); i++) {
        dctflow_outcome_t outcome;
        check(dctflow_outcome(outcomes, i, &outcome));
        print_outcome(argv[outcome.tag], &outcome);
    }
    dctflow_outcomes_free(outcomes);
    dctflow_session_free(session);
    return 0;
}
