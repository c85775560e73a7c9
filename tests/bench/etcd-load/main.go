// Loads an etcd cluster with its official client, the way `bastide bench`
// loads ours: every client sends a request, waits for the answer and sends the
// next. Prints one JSON object of the same shape as `bastide bench -o json`.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/pkg/transport"
)

type options struct {
	endpoints      string
	ca, cert, key  string
	clients, conns int
	keys, size     int
	reads, load    bool
	warmUp, run    time.Duration
}

type row struct {
	Count     int     `json:"count"`
	PerSecond float64 `json:"perSecond"`
	P50       float64 `json:"p50Ms"`
	P90       float64 `json:"p90Ms"`
	P99       float64 `json:"p99Ms"`
	P999      float64 `json:"p999Ms"`
	Max       float64 `json:"maxMs"`
}

type result struct {
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	Writes      row     `json:"writes"`
	Reads       row     `json:"reads"`
	Errors      int     `json:"errors"`
	FirstError  string  `json:"firstError,omitempty"`
	Cores       float64 `json:"generatorCores"`
}

// What one client measured.
type tally struct {
	latencies []time.Duration
	errors    int
	first     error
}

func parse() options {
	var o options
	flag.StringVar(&o.endpoints, "endpoints", "", "comma-separated URLs")
	flag.StringVar(&o.ca, "ca", "", "CA certificate")
	flag.StringVar(&o.cert, "cert", "", "client certificate")
	flag.StringVar(&o.key, "key", "", "its key")
	flag.IntVar(&o.clients, "clients", 64, "requests in flight")
	flag.IntVar(&o.conns, "conns", 0, "connections they share; 0: one each")
	flag.IntVar(&o.keys, "keys", 10000, "different keys")
	flag.IntVar(&o.size, "size", 1024, "bytes of a value")
	flag.BoolVar(&o.reads, "reads", false, "linearizable gets, not puts")
	flag.BoolVar(&o.load, "load", false, "write every key once before")
	flag.DurationVar(&o.warmUp, "warm-up", 2*time.Second, "not counted")
	flag.DurationVar(&o.run, "duration", 10*time.Second, "counted")
	flag.Parse()
	if o.conns <= 0 || o.conns > o.clients {
		o.conns = o.clients
	}
	return o
}

func connect(o options) ([]*clientv3.Client, error) {
	info := transport.TLSInfo{CertFile: o.cert, KeyFile: o.key, TrustedCAFile: o.ca}
	tls, err := info.ClientConfig()
	if err != nil {
		return nil, err
	}
	all := strings.Split(o.endpoints, ",")
	var clients []*clientv3.Client
	for i := 0; i < o.conns; i++ {
		// One endpoint each, in turn, so that all members take their share.
		c, err := clientv3.New(clientv3.Config{
			Endpoints:   []string{all[i%len(all)]},
			DialTimeout: 10 * time.Second,
			TLS:         tls,
		})
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}

func keyName(i int) string {
	return fmt.Sprintf("k%010d", i)
}

func makeValue(size int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := make([]byte, size)
	for i := range b {
		b[i] = letters[rand.Intn(len(letters))]
	}
	return string(b)
}

// Writes every key once.
func load(o options, clients []*clientv3.Client, value string) error {
	var wg sync.WaitGroup
	errs := make(chan error, o.clients)
	for w := 0; w < o.clients; w++ {
		wg.Add(1)
		go func(w int) {
			defer wg.Done()
			for k := w; k < o.keys; k += o.clients {
				_, err := clients[w%len(clients)].Put(context.Background(), keyName(k), value)
				if err != nil {
					errs <- err
					return
				}
			}
		}(w)
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func work(o options, c *clientv3.Client, seed int64, value string, from, until time.Time) tally {
	var t tally
	random := rand.New(rand.NewSource(seed))
	for {
		start := time.Now()
		if start.After(until) {
			return t
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		key := keyName(random.Intn(o.keys))
		var err error
		if o.reads {
			var got *clientv3.GetResponse
			got, err = c.Get(ctx, key)
			if err == nil && (len(got.Kvs) != 1 || len(got.Kvs[0].Value) != o.size) {
				err = fmt.Errorf("wrong answer for %s", key)
			}
		} else {
			_, err = c.Put(ctx, key, value)
		}
		cancel()
		end := time.Now()
		switch {
		case err != nil:
			t.errors++
			if t.first == nil {
				t.first = err
			}
			time.Sleep(10 * time.Millisecond)
		case start.After(from) && end.Before(until):
			t.latencies = append(t.latencies, end.Sub(start))
		}
	}
}

func summarise(all []time.Duration, seconds float64) row {
	if len(all) == 0 {
		return row{}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	at := func(percent float64) float64 {
		i := int(float64(len(all)) * percent / 100)
		if i >= len(all) {
			i = len(all) - 1
		}
		return float64(all[i].Nanoseconds()) / 1e6
	}
	return row{len(all), float64(len(all)) / seconds, at(50), at(90), at(99), at(99.9), at(100)}
}

func cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func measure(o options, clients []*clientv3.Client, value string) result {
	tallies := make([]tally, o.clients)
	from := time.Now().Add(o.warmUp)
	until := from.Add(o.run)
	before := cpu()
	var wg sync.WaitGroup
	for w := 0; w < o.clients; w++ {
		wg.Add(1)
		go func(w int) {
			defer wg.Done()
			tallies[w] = work(o, clients[w%len(clients)], int64(w+1), value, from, until)
		}(w)
	}
	wg.Wait()
	r := result{Connections: o.clients, Seconds: o.run.Seconds()}
	var all []time.Duration
	for _, t := range tallies {
		all = append(all, t.latencies...)
		r.Errors += t.errors
		if t.first != nil && r.FirstError == "" {
			r.FirstError = t.first.Error()
		}
	}
	if o.reads {
		r.Reads = summarise(all, r.Seconds)
	} else {
		r.Writes = summarise(all, r.Seconds)
	}
	r.Cores = (cpu() - before) / (o.warmUp + o.run).Seconds()
	return r
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "etcd-load:", err)
	os.Exit(1)
}

func main() {
	o := parse()
	clients, err := connect(o)
	if err != nil {
		fail(err)
	}
	value := makeValue(o.size)
	if o.load {
		if err := load(o, clients, value); err != nil {
			fail(err)
		}
	}
	r := measure(o, clients, value)
	json.NewEncoder(os.Stdout).Encode(r)
	if r.Errors > 0 {
		os.Exit(1)
	}
}
