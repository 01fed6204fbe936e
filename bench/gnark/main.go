// Command gnark commits to a blob as EigenDA's own client does, with gnark-crypto, and says how long it took.
//
//	gnark POINTS RUNS < COEFFICIENTS
//
// POINTS is a file of compressed points of G1 as EigenDA ships them, COEFFICIENTS are numbers of 32 bytes, the highest first. The
// answer is JSON: the commitment as x and y, and the least time of RUNS multiplications on one core and on all.
package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

type answer struct {
	Commitment      string  `json:"commitment"`
	OneCoreSeconds  float64 `json:"one_core_seconds"`
	AllCoresSeconds float64 `json:"all_cores_seconds"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gnark:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 3 {
		return errors.New("usage: gnark POINTS RUNS < COEFFICIENTS")
	}
	runs, err := strconv.Atoi(os.Args[2])
	if err != nil || runs < 1 {
		return fmt.Errorf("RUNS must be a positive number, not %s", os.Args[2])
	}
	coefficients, err := readCoefficients(os.Stdin)
	if err != nil {
		return err
	}
	points, err := readPoints(os.Args[1], len(coefficients))
	if err != nil {
		return err
	}
	oneCore, commitment, err := least(runs, points, coefficients, 1)
	if err != nil {
		return err
	}
	allCores, again, err := least(runs, points, coefficients, runtime.NumCPU())
	if err != nil {
		return err
	}
	if !commitment.Equal(&again) {
		return errors.New("two multiplications differ")
	}
	bytes := commitment.RawBytes()
	return json.NewEncoder(os.Stdout).Encode(answer{hex.EncodeToString(bytes[:]), oneCore, allCores})
}

func readCoefficients(from io.Reader) ([]fr.Element, error) {
	bytes, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	if len(bytes)%fr.Bytes != 0 {
		return nil, fmt.Errorf("%d bytes are no numbers of %d", len(bytes), fr.Bytes)
	}
	coefficients := make([]fr.Element, len(bytes)/fr.Bytes)
	for i := range coefficients {
		if err := coefficients[i].SetBytesCanonical(bytes[i*fr.Bytes : (i+1)*fr.Bytes]); err != nil {
			return nil, err
		}
	}
	return coefficients, nil
}

func readPoints(path string, count int) ([]bn254.G1Affine, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	bytes := make([]byte, count*bn254.SizeOfG1AffineCompressed)
	if _, err := io.ReadFull(file, bytes); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	points := make([]bn254.G1Affine, count)
	for i := range points {
		at := i * bn254.SizeOfG1AffineCompressed
		if _, err := points[i].SetBytes(bytes[at : at+bn254.SizeOfG1AffineCompressed]); err != nil {
			return nil, err
		}
	}
	return points, nil
}

// The least time of so many multiplications on so many cores.
func least(runs int, points []bn254.G1Affine, coefficients []fr.Element, cores int) (float64, bn254.G1Affine, error) {
	var commitment bn254.G1Affine
	seconds := 0.0
	for i := 0; i < runs; i++ {
		began := time.Now()
		if _, err := commitment.MultiExp(points, coefficients, ecc.MultiExpConfig{NbTasks: cores}); err != nil {
			return 0, commitment, err
		}
		if took := time.Since(began).Seconds(); i == 0 || took < seconds {
			seconds = took
		}
	}
	return seconds, commitment, nil
}
