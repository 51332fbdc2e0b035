package simulate

import (
	"math"
	"time"
)

// weather is what a way is like: how long bytes take, and how often a packet is lost,
// which holds back all that follow until it was sent again.
type weather struct {
	typical  time.Duration // median of a packet
	spread   float64       // standard deviation of the logarithm: the tail
	longest  time.Duration // no packet takes longer
	loss     float64       // share of packets
	again    time.Duration // until a lost packet is sent again, the first time
	sometime float64       // share of packets that take up to longest
}

// calm is the network without faults; a slow one spans data centres.
func calm(slow bool) weather {
	if slow {
		return weather{typical: 4 * time.Millisecond, spread: 0.8, longest: 80 * time.Millisecond, sometime: 0.02}
	}
	return weather{typical: 300 * time.Microsecond, spread: 0.5, longest: 40 * time.Millisecond, sometime: 0.002}
}

// latency draws how long one packet takes.
func (w *weather) latency(roll uint64) time.Duration {
	u, v := unit(roll), unit(scramble(roll))
	d := time.Duration(float64(w.typical) * math.Exp(w.spread*normal(u, v)))
	roll = scramble(roll + 1)
	if w.sometime > 0 && unit(roll) < w.sometime {
		d += time.Duration(unit(scramble(roll)) * float64(w.longest))
	}
	d = min(d, w.longest)
	for again := w.again; w.loss > 0 && again < 8*w.again; again *= 2 {
		roll = scramble(roll + 2)
		if unit(roll) >= w.loss {
			break
		}
		d += again
	}
	return d
}

// unit returns a number in [0, 1).
func unit(roll uint64) float64 { return float64(roll>>11) / (1 << 53) }

// normal returns a normally distributed number, by Box and Muller.
func normal(u, v float64) float64 {
	return math.Sqrt(-2*math.Log(1-u)) * math.Cos(2*math.Pi*v)
}
