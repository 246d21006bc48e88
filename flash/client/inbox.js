// @ts-check
/**
 * The events that have come and wait to be applied, in their order.
 *
 * They are applied in slices: the first with the next frame, the others, if there are many, as soon as the page has
 * answered its user and drawn. What a slice holds of updates is applied together. `applied` is the id of the last
 * event that is done: the connection acknowledges it, and goes on from there when it was cut.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {{name: string, text: string, data: any, id: string}} Received  an event, and its data once parsed
 * @typedef {object} Host  what the inbox needs of the connection
 * @property {Record<string, (data: any) => void>} handlers  what is to be done with each event
 * @property {() => boolean} standing  whether the page has a life, which only `hello` gives it
 * @property {() => void} sliced  called after each slice
 */

(function () {
    const page = /** @type {any} */ (window);
    const {updates} = page.flash;

    /** Milliseconds for which updates are applied in one go: half a frame. */
    const SLICE = 8;
    /** Milliseconds after which a frame that does not come is not waited for: the page may be out of sight. */
    const LATE = 100;

    /** @type {Received[]} */
    let queue = [];
    /** The id of the last event that was handled; its updates may not have been applied. */
    let handled = '';
    /** The frame and the timer that the next slice waits for. */
    let frame = 0;
    let late = 0;
    /** The components that are to draw what the slice at hand adds to them, before more is added. @type {Set<string>} */
    const busy = new Set();
    /** Lets other tasks of the page run before the next slice. */
    const hop = new MessageChannel();
    /** @type {Host} */
    let host;

    /**
     * @param {Host} connection
     */
    function begin(connection) {
        host = connection;
        hop.port1.onmessage = work;
        document.addEventListener('visibilitychange', hurry);
    }

    /**
     * An event has come.
     * @param {Received} event
     */
    function push(event) {
        queue.push(event);
        schedule();
    }

    /** Have what has come applied: with the next frame, or at once if the page is not shown. */
    function schedule() {
        if (document.hidden) {
            hurry();
        } else if (frame === 0) {
            frame = requestAnimationFrame(work);
            late = window.setTimeout(work, LATE);
        }
    }

    /** Do not wait for a frame: a page that is hidden has none. */
    function hurry() {
        hop.port2.postMessage(null);
    }

    /** The id of the last event that has come. */
    function last() {
        return queue.length > 0 ? queue[queue.length - 1].id : inbox.applied;
    }

    /** The life is over, and with it what has come of it; what has come behind the event at hand is of the next. */
    function forget() {
        handled = inbox.applied = '';
    }

    /** What waits is not to be applied any more. */
    function clear() {
        queue = [];
    }

    /**
     * The updates of a stream that was cut short and that wait to be applied are not worth their time any more.
     * @param {{stream: string, reason: string}} ending
     */
    function abandon({stream, reason}) {
        if (reason !== 'completed' && reason !== 'failed') {
            const start = `{"stream":${JSON.stringify(stream)},`;
            queue = queue.filter(({name, text}) => name !== 'props' || !text.startsWith(start));
        }
    }

    /** Apply what has come. A slice also ends where a component is to be drawn first: see `updates.adds`. */
    function work() {
        cancelAnimationFrame(frame);
        clearTimeout(late);
        frame = 0;
        const until = performance.now() + SLICE;
        let pause = false;
        while (queue.length > 0 && !pause) {
            const event = /** @type {Received} */ (queue.shift());
            if (!host.standing() && event.name !== 'hello') {
                continue;
            }
            try {
                pause = handle(event);
            } catch (error) {
                console.error(`Flash: an event could not be handled: ${event.name}.`, error);
            }
            if (host.standing() && event.id !== '') {
                handled = event.id;
            }
            pause ||= performance.now() > until;
        }
        settle();
        host.sliced();
        const drawing = busy.size > 0;
        busy.clear();
        if (queue.length > 0) {
            drawing ? schedule() : hurry();
        }
    }

    /** Apply what was collected. */
    function settle() {
        updates.flush();
        inbox.applied = handled;
    }

    /**
     * Handle an event; says whether the page is to draw before the next.
     * @param {Received} event
     */
    function handle(event) {
        const {name} = event;
        const data = event.data ?? JSON.parse(event.text);
        if (name !== 'props') {
            // In its turn: what came before it has been applied then.
            settle();
            host.handlers[name](data);
            return false;
        }
        const until = data.props.findIndex(waits);
        if (until !== -1) {
            // The event has been applied when the rest of it has.
            queue.unshift({...event, data: {...data, props: data.props.slice(until)}});
            event.id = '';
            data.props = data.props.slice(0, until);
        }
        host.handlers[name](data);
        return until !== -1;
    }

    /**
     * Whether an update has to wait for the next slice: it adds to a component that has yet to draw what came before.
     * @param {[any, Record<string, any>]} pair
     */
    function waits([id, props]) {
        const adds = updates.adds(props);
        if (!adds && !('figure' in props)) {
            return false;
        }
        const name = JSON.stringify(id);
        if (adds && busy.has(name)) {
            return true;
        }
        busy.add(name);
        return false;
    }

    const inbox = {begin, push, last, forget, clear, abandon, applied: ''};
    Object.assign(page.flash, {inbox});
})();
