// @ts-check
/**
 * Tells which components are still busy with the props of the last update, so that the next update waits for them.
 *
 * A `dcc.Graph` draws in a queue. Data that it is to add (`extendData`) would be added twice if more came before it is
 * drawn, and would be added to a new figure if one came. A grid collects the rows that it is to add (`rowTransaction`)
 * and adds them 50 ms later, to the rows that it has by then. So an update of such a component waits until `isBusy` is
 * false. Other components that have properties of these names are unknown: each is given the time of one frame.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {onNextFrame} = flash;
    const {nameOf, graphProgress, gridApi} = flash.renderer;

    /** Properties whose value is added to what a component has. */
    const ADDING = ['extendData', 'prependData', 'rowTransaction'];

    /** The drawings of graphs that are over. @type {WeakSet<Promise<any>>} */
    const drawn = new WeakSet();
    /** The drawings of graphs that `reportWhenDrawn` has been called with. @type {WeakSet<Promise<any>>} */
    const awaited = new WeakSet();
    /** Other components that have been given something to add, until the next frame. @type {Set<string>} */
    const adding = new Set();
    /**
     * The last `rowTransaction` of each grid, as JSON, and how many alike have followed it.
     * @type {Map<string, [string, number]>}
     */
    const transactions = new Map();
    /** Called when a component may have become ready. @type {() => void} */
    let reportReady = () => undefined;

    /**
     * A kind of component, and how it is handled.
     * @typedef {object} Kind
     * @property {(props: Props) => boolean} isSensitiveTo  whether an update with these props waits until it is ready
     * @property {(name: string, found: Component) => boolean} isBusy  whether it is busy with earlier props
     * @property {(name: string, found: Component, props: Props) => Props} prepare  returns the props to set now
     */

    /** @type {Kind} */
    const graph = {
        isSensitiveTo: props => 'figure' in props || adds(props),
        isBusy: name => {
            const progress = graphProgress(name);
            if (progress === null) {
                // Not shown: when it is, it draws the props that it has then.
                return false;
            }
            if (progress.drawing !== null && !drawn.has(progress.drawing)) {
                reportWhenDrawn(progress.drawing);
                return true;
            }
            return progress.hasMore;
        },
        prepare: (name, found, props) => props
    };

    /** @type {Kind} */
    const grid = {
        isSensitiveTo: () => true,
        isBusy: (name, found) => Boolean(found.props.rowTransaction),
        prepare: (name, found, props) => {
            if (Object.keys(props).every(prop => prop === 'rowTransaction')) {
                return withNumber(name, props);
            }
            gridApi(name)?.flushAsyncTransactions();
            // A grid that is not shown has not added its rows yet: they must not be added to the new ones.
            return found.props.rowTransaction && 'rowData' in props ? {rowTransaction: null, ...props} : props;
        }
    };

    /** @type {Kind} */
    const other = {
        isSensitiveTo: adds,
        isBusy: name => adding.has(name),
        prepare: (name, found, props) => {
            adding.add(name);
            onNextFrame(() => {
                adding.delete(name);
                reportReady();
            });
            return props;
        }
    };

    /**
     * The props of a grid with a number in a `rowTransaction` that equals the last one: without it the grid would
     * ignore that.
     * @param {string} name
     * @param {Props} props
     */
    function withNumber(name, props) {
        const text = JSON.stringify(props);
        const [last, alike] = transactions.get(name) ?? ['', 0];
        const number = text === last ? alike + 1 : 0;
        transactions.set(name, [text, number]);
        return number > 0 && props.rowTransaction ? {rowTransaction: {...props.rowTransaction, number}} : props;
    }

    /**
     * Whether props add to what a component shows.
     * @param {Props} props
     */
    function adds(props) {
        return ADDING.some(name => name in props);
    }

    /**
     * The kind of a component; null if an update with these props need not wait for it.
     * @param {Component} found
     * @param {Props} props
     * @returns {Kind | null}
     */
    function kindOf({namespace, type}, props) {
        let kind = other;
        if (namespace === 'dash_core_components' && type === 'Graph') {
            kind = graph;
        } else if (namespace === 'dash_ag_grid') {
            kind = grid;
        }
        return kind.isSensitiveTo(props) ? kind : null;
    }

    /**
     * Note and report when a drawing is over, whether it has succeeded or failed.
     * @param {Promise<any>} drawing
     */
    function reportWhenDrawn(drawing) {
        if (!awaited.has(drawing)) {
            awaited.add(drawing);
            const over = () => {
                drawn.add(drawing);
                reportReady();
            };
            drawing.then(over, over);
        }
    }

    /**
     * Call a function each time that a component may have become ready.
     * @param {() => void} then
     */
    function onReady(then) {
        reportReady = then;
    }

    /**
     * Whether an update with these props needs a batch without other updates of its component.
     * @param {Component} found
     * @param {Props} props
     */
    function needsOwnBatch(found, props) {
        return kindOf(found, props) !== null;
    }

    /**
     * Whether a component is still busy with earlier props, so that these have to wait.
     * @param {Id} id
     * @param {Component} found
     * @param {Props} props
     */
    function isBusy(id, found, props) {
        return kindOf(found, props)?.isBusy(nameOf(id), found) ?? false;
    }

    /**
     * The props to set on a component now, made of those of an update.
     * @param {Id} id
     * @param {Component} found
     * @param {Props} props
     * @returns {Props}
     */
    function prepare(id, found, props) {
        return kindOf(found, props)?.prepare(nameOf(id), found, props) ?? props;
    }

    Object.assign(flash, {busyComponents: {needsOwnBatch, isBusy, prepare, onReady}});
})();
