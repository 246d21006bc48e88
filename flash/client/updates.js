// @ts-check
/**
 * Applying updates to the layout: each in its turn, and each so that it is seen.
 *
 * Updates wait in one queue, whatever has brought them: a stream's `props`, its `open` or `end`, the page itself when
 * its server is lost. `run` takes them from there into a batch, and a batch is applied and drawn in one go. Where an
 * update would replace a value that nothing has seen yet, the batch before it is drawn first: React draws what is set
 * in one go only as it is in the end. Only of a stream that conflates the newer value takes the older one's place.
 *
 * An update waits, and all that follow with it, while
 *
 * - its component is busy with what it was given before: see `asynchronous.js`;
 * - a callback has still to be called with the value that it would replace, if the page is shown: one that is hidden
 *   gets to its callbacks once a second, and then with the newest values.
 *
 * Neither for ever: then it is applied, and what it waited for is not waited for again until that was seen to be over.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {[Id, Props]} Pair
 * @typedef {object} Update
 * @property {Pair[]} pairs  what is left of it
 * @property {string | null} stream  the id of the stream that it is of; null if it is the page's own
 * @property {boolean} conflates
 * @property {string | null} output  the Outputs of the callback that it is of: it does not call that again
 * @typedef {{id: Id, props: Props, conflates: boolean, replaced: boolean, output: string | null}} Entry  what a batch sets
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {nameOf, isPattern, resolve, component, isPatch, changesLayout, set, draw, isAwaited} = flash.renderer;
    const {asynchronous, reports} = flash;

    /** Milliseconds for which an update waits for its component, which may have to be loaded first. */
    const COMPONENT = 2_000;
    /** Milliseconds for which it waits for callbacks: one may stand behind another that takes its time. */
    const CALLBACKS = 250;

    /** @type {Update[]} */
    let queue = [];
    /** @type {Entry[]} */
    let batch = [];
    /** What the batch has of each component, by its id. @type {Map<string, Entry[]>} */
    const touched = new Map();
    /** What the first of the queue waits for, and since when. @type {{what: string, since: number} | null} */
    let waiting = null;
    /** What has been waited for in vain. @type {Set<string>} */
    const hopeless = new Set();

    /** Called when updates have been applied. @type {() => void} */
    let applied = () => undefined;

    /**
     * Take in updates, to be applied by `run` and `commit`.
     * @param {Pair[]} pairs
     * @param {{stream: string, output: string | null, conflate: boolean} | null} [of]  the stream that has sent them
     */
    function put(pairs, of = null) {
        if (pairs.length > 0) {
            const stream = of && of.stream;
            const {output, conflate} = of ?? {output: null, conflate: false};
            queue.push({pairs: [...pairs], stream, output, conflates: conflate});
        }
    }

    /**
     * Forget the updates of a stream that have not been applied.
     * @param {string} stream
     */
    function drop(stream) {
        queue = queue.filter(update => update.stream !== stream);
    }

    /**
     * Take updates into the batch until none is left, and say so. If it stops before that, because the first one has
     * to wait or the time is over, what was taken has been applied.
     * @param {number} until  on the clock of `performance`
     */
    function run(until) {
        for (; queue.length > 0; queue.shift()) {
            const update = queue[0];
            while (update.pairs.length > 0) {
                const [id, props] = update.pairs[0];
                if (isPattern(id)) {
                    /** @type {Pair[]} */
                    const each = resolve(id).map((/** @type {Id} */ one) => [one, props]);
                    update.pairs.splice(0, 1, ...each);
                } else if (take(id, props, update)) {
                    update.pairs.shift();
                } else {
                    commit();
                    return false;
                }
                if (performance.now() > until && update.pairs.length > 0) {
                    commit();
                    return false;
                }
            }
        }
        return true;
    }

    /**
     * Take one update into the batch; says whether it could be.
     * @param {Id} id
     * @param {Props} props
     * @param {Update} update
     */
    function take(id, props, {conflates, output}) {
        const found = component(id);
        if (found === undefined) {
            reports.missing(id, props);
            return true;
        }
        const brings = changesLayout(id, props);
        if (brings || clashes(id, found, props, conflates)) {
            commit();
        }
        if (mustWait(id, props, conflates)) {
            return false;
        }
        const entry = {id, props, conflates, replaced: false, output};
        batch.push(entry);
        const entries = touched.get(nameOf(id));
        entries === undefined ? touched.set(nameOf(id), [entry]) : entries.push(entry);
        if (brings) {
            // What follows may be for components that it brings.
            commit();
        }
        return true;
    }

    /**
     * Whether the batch is to be drawn before an update; what this replaces of streams that conflate is left out.
     * @param {Id} id
     * @param {Component} found
     * @param {Props} props
     * @param {boolean} conflates
     */
    function clashes(id, found, props, conflates) {
        const before = touched.get(nameOf(id));
        if (before === undefined) {
            return false;
        }
        if (asynchronous.kindOf(found, props) || before.some(entry => asynchronous.kindOf(found, entry.props))) {
            return true;
        }
        for (const entry of before) {
            const names = Object.keys(entry.props);
            if (!entry.conflates && names.some(name => name in props)) {
                return true;
            }
            if (conflates && isWhole(props) && isWhole(entry.props) && names.every(name => name in props)) {
                entry.replaced = true;
            }
        }
        return false;
    }

    /**
     * Whether props stand for themselves, whatever was there before.
     * @param {Props} props
     */
    function isWhole(props) {
        return !Object.values(props).some(isPatch);
    }

    /**
     * Whether an update cannot be applied yet.
     * @param {Id} id
     * @param {Props} props
     * @param {boolean} conflates
     */
    function mustWait(id, props, conflates) {
        const found = component(id);
        if (found === undefined) {
            return false;
        }
        if (isToBeAwaited(`component ${nameOf(id)}`, asynchronous.isBusy(id, found, props), COMPONENT)) {
            return true;
        }
        const callbacks =
            !conflates && !document.hidden && Object.keys(props).some(property => isAwaited(id, property));
        return isToBeAwaited(`callbacks ${nameOf(id)}`, callbacks, CALLBACKS);
    }

    /**
     * Whether something is still to be waited for.
     * @param {string} what
     * @param {boolean} pending
     * @param {number} patience  milliseconds
     */
    function isToBeAwaited(what, pending, patience) {
        if (!pending) {
            hopeless.delete(what);
            if (waiting?.what === what) {
                waiting = null;
            }
            return false;
        }
        if (hopeless.has(what)) {
            return false;
        }
        if (waiting?.what !== what) {
            waiting = {what, since: performance.now()};
        } else if (performance.now() - waiting.since > patience) {
            waiting = null;
            hopeless.add(what);
            return false;
        }
        return true;
    }

    /** Apply the batch, and have it drawn. */
    function commit() {
        if (batch.length === 0) {
            return;
        }
        const entries = batch;
        batch = [];
        touched.clear();
        updates.applying = true;
        try {
            draw(() => entries.forEach(apply));
        } finally {
            updates.applying = false;
        }
        applied();
    }

    /**
     * @param {Entry} entry
     */
    function apply({id, props, replaced, output}) {
        const found = component(id);
        if (found === undefined) {
            reports.missing(id, props);
        }
        if (replaced || found === undefined) {
            return;
        }
        try {
            set(id, asynchronous.prepare(id, found, props), output);
        } catch (error) {
            reports.failed(id, props, error);
        }
    }

    /** Apply what has been put, as far as that is possible. */
    function flush() {
        if (!run(Infinity)) {
            updates.wake();
        }
        commit();
    }

    /**
     * Have `then` called when updates have been applied.
     * @param {() => void} then
     */
    function afterwards(then) {
        applied = then;
    }

    const updates = {
        put,
        drop,
        run,
        commit,
        flush,
        afterwards,
        applying: false,
        /** Whether the first update has to wait: `run` is to be called again when something has changed. */
        isWaiting: () => waiting !== null && queue.length > 0,
        /** Has `run` called before long. */
        wake: () => undefined
    };
    Object.assign(flash, {updates});
})();
