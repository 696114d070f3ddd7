// Verifies a DSSE envelope and the in-toto statement in it with the implementations of their
// authors: `interop THRESHOLD ENVELOPE PUBLIC-KEY...` prints the result of the test result.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strconv"

	predicate "github.com/in-toto/attestation/go/predicates/test_result/v0"
	attestation "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
	"google.golang.org/protobuf/encoding/protojson"
)

func main() {
	if len(os.Args) < 4 {
		fail(errors.New("usage: interop THRESHOLD ENVELOPE PUBLIC-KEY..."))
	}
	threshold, err := strconv.Atoi(os.Args[1])
	fail(err)
	body := verified(threshold, os.Args[2], os.Args[3:])

	statement := &attestation.Statement{}
	fail(protojson.Unmarshal(body, statement))
	fail(statement.Validate())
	data, err := protojson.Marshal(statement.Predicate)
	fail(err)
	result := &predicate.TestResult{}
	fail(protojson.Unmarshal(data, result))
	for _, entry := range result.Configuration {
		fail(entry.Validate())
	}
	fmt.Println(statement.PredicateType, result.Result, len(result.PassedTests))
}

// verified returns the payload that enough of the keys signed.
func verified(threshold int, file string, keys []string) []byte {
	var verifiers []dsse.Verifier
	for _, name := range keys {
		text, err := os.ReadFile(name)
		fail(err)
		key, err := signerverifier.LoadKey(text)
		fail(err)
		block, _ := pem.Decode(text)
		sum := sha256.Sum256(block.Bytes)
		key.KeyID = hex.EncodeToString(sum[:])
		verifier, err := signerverifier.NewED25519SignerVerifierFromSSLibKey(key)
		fail(err)
		verifiers = append(verifiers, verifier)
	}
	content, err := os.ReadFile(file)
	fail(err)
	envelope := dsse.Envelope{}
	fail(json.Unmarshal(content, &envelope))
	verifier, err := dsse.NewMultiEnvelopeVerifier(threshold, verifiers...)
	fail(err)
	_, body, err := verifier.VerifyAndDecode(context.Background(), &envelope)
	fail(err)
	return body
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
